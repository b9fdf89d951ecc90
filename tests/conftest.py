"""Fixtures of all tests."""

import gc
from collections.abc import Generator, Iterator
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, settings

from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit import environment, processes
from tests.kit.forks import close_servers
from tests.kit.service import Service
from tests.kit.valkey import connected, running_valkey

# No deadline and no check of speed: a slow run on a busy machine is not an error of the code. No database: each run
# searches independently. `make quick` searches less long.
FULL = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("notifier", FULL)
settings.register_profile("quick", FULL, max_examples=20)
settings.load_profile("notifier")


def pytest_configure() -> None:
    """Start programs with the same signals and limits, wherever this process comes from."""
    environment.stop_ignoring_signals()
    environment.allow_open_files()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument.

    All workers of pytest-xdist must collect the same names, and bytes that each of them makes may differ: gzip writes
    the time into its head.
    """
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage neither while tests are collected nor, later, among the thousands of collected ones."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def programs() -> Iterator[None]:
    """End the programs that a test has started."""
    yield
    processes.end_all()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service with two workers and default settings, shared by all tests: use unique names."""
    with Service() as service:
        yield service


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey server shared by all tests: use unique names."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="session")
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """A client of the server that shares no code with the service."""
    with connected(valkey) as client:
        yield client


@pytest.fixture
def user() -> str:
    """The unique name of a user."""
    return f"user-{uuid4()}"


def pytest_unconfigure() -> None:
    """End the programs that the helpers have started for all tests."""
    close_servers()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measurements of tests."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", []):
                if name == "summary" and report.when == "call":
                    terminalreporter.write_line(text)
