"""Fixtures that the end-to-end tests share: a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.kit.chromium import CHROMIUM, Chromium

# The files whose tests take longest, the longest first.
_LONG = [
    "test_readme.py",
    "test_tabs.py",
    "test_browser.py",
    "test_proxies.py",
    "test_wheel.py",
    "test_devices.py",
    "test_examples.py",
    "test_elements.py",
    "test_pages.py",
    "test_bad_stream.py",
    "test_chaos.py",
    "test_cli.py",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin each process with an equal share of the tests that take longest.

    Each process is given a contiguous part of all tests. Later it takes over tests that others have not begun.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    rest = [item for item in items if item.path.name not in _LONG]
    for place, name in enumerate(_LONG):
        turn, number = divmod(place, processes)
        share = shares[number if turn % 2 == 0 else -1 - number]
        share += [item for item in items if item.path.name == name]
    size = len(items) // processes
    for share in shares[:-1]:
        missing = max(size - len(share), 0)
        share += rest[:missing]
        del rest[:missing]
    items[:] = [item for share in (*shares, rest) for item in share]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The one Chromium of all tests: a start costs as much as many tests."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    chromium = Chromium()
    yield chromium
    chromium.close()


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """The browser, without a page: a test opens pages or contexts of its own."""
    with chromium.borrowed() as browser:
        yield browser
