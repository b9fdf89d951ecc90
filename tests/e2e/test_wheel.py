"""The wheel, installed outside the checkout, is complete."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notifier import __version__
from tests.kit import environment, processes
from tests.kit.leaks import leaks
from tests.kit.ports import free_port
from tests.kit.service import API_KEY, TOKEN_SECRETS, Service
from tests.kit.waiting import DEADLINE, eventually

ROOT = Path(__file__).parent.parent.parent
CLIENT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
PIP = Path(importlib.util.find_spec("pip").origin).with_name("__pip-runner__.py")
FIRST_STEPS = ROOT / "tests/kit/first_steps.py"
SHOP_TEST = """
import asyncio

import pytest

from notifier.client import ProblemError, Received


def test_service(notifier_service):
    with notifier_service.client() as client, notifier_service.listen("alice", ["orders"]) as stream:
        client.publish(to={"topics": ["orders"]}, title="Hello")
        event = next(stream)
        assert isinstance(event, Received) and event.channel == "topic:orders"


def test_inbox(notifier_service):
    inbox = notifier_service.inbox("bob")
    with notifier_service.client() as client, notifier_service.listen("bob", inbox=True) as stream:
        assert next(stream).counts.unread == 0
        published = client.publish(to={"users": ["bob"]}, title="Hello")
        assert inbox.read(published.id).counts.unread == 0


def test_same_service(notifier_service):
    with notifier_service.client() as client:
        assert client.status()["version"]


def test_recording(recording_notifier):
    notification = {"to": {"users": ["alice"]}, "title": "Hello"}
    published = recording_notifier.publish(notification, idempotency_key="k")
    assert recording_notifier.published == [notification]
    assert recording_notifier.publish(notification, idempotency_key="k").id == published.id
    with pytest.raises(ProblemError, match="/titel"):
        recording_notifier.publish(to={"users": ["alice"]}, titel="Hello")
    assert [type(result).__name__ for result in recording_notifier.publish_many([notification, {"to": {}}])] == [
        "Published",
        "ProblemError",
    ]
    assert recording_notifier.inbox().counts().unread == 2
    recording_notifier.recall(published.id)
    assert recording_notifier.recalled == [published.id]


def test_async_recording(async_recording_notifier):
    asyncio.run(async_recording_notifier.publish(to={"all": True}, type="x"))
    assert len(async_recording_notifier.published) == 1
"""


Make = Callable[[Path], None]
Once = Callable[[str, Make], Path]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder once for all workers of pytest-xdist, which have a folder in common."""
    common = tmp_path_factory.getbasetemp()
    common = common.parent if "PYTEST_XDIST_WORKER" in os.environ else common

    def make_once(name: str, make: Make) -> Path:
        folder = common / name
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                make(folder)
        return folder

    return make_once


@pytest.fixture(scope="module")
def wheel(once: Once) -> Path:
    """The wheel, built from a copy of the sources."""

    def build(folder: Path) -> None:
        copy = folder.with_name("sources")
        shutil.copytree(ROOT / "notifier", copy / "notifier", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        # What pip calls, without three processes more.
        build = f"import setuptools.build_meta; setuptools.build_meta.build_wheel({str(folder)!r})"
        processes.run([sys.executable, "-c", build], cwd=copy, stdout=subprocess.DEVNULL, check=True)

    [built] = once("wheel", build).glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """A separate virtual environment with the wheel, which shares the dependencies of this one."""
    folder = Path(tempfile.mkdtemp(prefix="notifier-"))  # a short path: it holds a Unix socket
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    pip(folder / "venv", "install", "--no-deps", "--no-index", str(wheel))
    (site_of(folder / "venv") / "shared.pth").write_text(sysconfig.get_path("purelib"))
    yield folder
    shutil.rmtree(folder)


def pip(folder: Path, *words: str) -> None:
    """Run pip for the virtual environment in a folder: as `pip --python` does, but pip starts once."""
    command = [folder / "bin/python", PIP, "--quiet", "--disable-pip-version-check", *words]
    processes.run(command, env=environment.installing(), check=True)


def site_of(folder: Path) -> Path:
    """Return where a virtual environment has its packages."""
    return folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def test_content(wheel: Path) -> None:
    """The wheel has the scripts, the pages, the browser library and the types, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    for path in ROOT.glob("notifier/**/*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert not [name for name in names if not name.startswith(("notifier/", f"notifierd-{__version__}.dist-info/"))]


def test_client(wheel: Path, tmp_path: Path, service: Service, user: str) -> None:
    """The client works alone, with the lowest versions that it accepts, and does not conflict with an older Flask.

    Alone it is small, publishes, listens and prints how to add the service.
    """
    client = tmp_path / "client"
    venv.create(client, with_pip=False, symlinks=True)
    lowest = [text.split(",")[0].replace(">=", "==") for text in CLIENT]
    pip(client, "install", "--no-compile", "--only-binary", ":all:", str(wheel), *lowest)
    size = sum(path.stat().st_size for path in site_of(client).rglob("*") if path.is_file())
    assert size < 7_500_000  # compiled modules, which are as large as their sources, make it 15 MB
    notifier = client / "bin/notifier"
    secret = environment.basic(NOTIFIER_TOKEN_SECRETS=TOKEN_SECRETS[0])
    token = processes.run([notifier, "token", user], env=secret, capture_output=True, text=True, check=True).stdout
    environ = environment.basic(
        NOTIFIER_URL=f"http://127.0.0.1:{service.port}", NOTIFIER_API_KEY=API_KEY, NOTIFIER_TOKEN=token.strip()
    )
    for command in (
        [client / "bin/python", "-P", "-W", "error", FIRST_STEPS, user],
        [notifier, "send", "--user", user, "--title", "Hello"],
    ):
        done = processes.run(command, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    refused = processes.run([notifier, "serve"], capture_output=True, text=True)
    assert refused.returncode == 1 and 'pip install "notifierd[server]"' in refused.stderr

    pip(client, "install", "--no-compile", "--only-binary", ":all:", "Flask<3.1", str(wheel))
    pip(client, "check")


def test_commands(installed: Path) -> None:
    """The commands of the wheel run the service and send a notification."""
    command, port = installed / "venv/bin/notifier", free_port()
    serve = [command, "serve", "--dev", "--workers", "1", "--bind", f"127.0.0.1:{port}"]
    with (installed / "log").open("wb") as log:
        service = processes.start(serve, cwd=installed, stdout=log, stderr=log)
    kept = installed / ".notifier/api-key"
    eventually(lambda: kept.exists() and kept.read_text())
    sent = processes.run(
        [command, "send", "--user", "alice", "--title", "Hello"],
        cwd=installed,
        env=environment.basic(NOTIFIER_URL=f"http://127.0.0.1:{port}", NOTIFIER_API_KEY=kept.read_text().strip()),
        capture_output=True,
        check=False,
    )
    assert sent.returncode == 0, (sent.stderr, (installed / "log").read_text())
    service.terminate()
    log_text = (installed / "log").read_text()
    assert service.wait(DEADLINE) == 0, log_text
    assert leaks(log_text, [(installed / ".notifier/token-secret").read_text().strip()]) == []


def test_pytest_plugin(installed: Path) -> None:
    """The wheel brings the pytest fixtures, which a user's test module can use."""
    folder = installed / "shop"
    folder.mkdir()
    (folder / "test_shop.py").write_text(SHOP_TEST)
    words = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_shop.py"]
    done = processes.run(
        [installed / "venv/bin/python", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
