"""The wheel, installed outside the checkout, is complete."""

import shutil
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier import __version__
from tests.kit import environment, processes
from tests.kit.ports import free_port
from tests.kit.waiting import DEADLINE, eventually

ROOT = Path(__file__).parent.parent.parent
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as `pip install .` builds it, from a copy of the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "notifier", copy / "notifier", ignore=shutil.ignore_patterns("__pycache__"))
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(copy / "dist"), str(copy))
    [built] = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """A separate virtual environment with the wheel, which shares the dependencies of this one."""
    folder = Path(tempfile.mkdtemp(prefix="notifier-"))  # a short path: it holds a Unix socket
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    processes.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv/lib" / version / "site-packages"
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    yield folder
    shutil.rmtree(folder)


def pip(python: str, *words: str) -> None:
    """Run pip."""
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    processes.run(command, env=environment.installing(), check=True)


def test_content(wheel: Path) -> None:
    """The wheel has the scripts, the pages, the browser library and the types, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    for path in ROOT.glob("notifier/**/*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert not [name for name in names if not name.startswith(("notifier/", f"notifierd-{__version__}.dist-info/"))]


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
    assert service.wait(DEADLINE) == 0, (installed / "log").read_text()


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
