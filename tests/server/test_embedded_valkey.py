"""The embedded server: it starts, keeps its data, and is found again."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from notifier.server.embedded_valkey import EmbeddedError, EmbeddedValkey
from tests.kit import processes
from tests.kit.valkey import connected, pid_of, running_valkey, short_directory

ROOT = Path(__file__).parent.parent.parent
MASTER_THAT_DIES = """
import os, pathlib, sys
from notifier.server.embedded_valkey import EmbeddedValkey
EmbeddedValkey(pathlib.Path(sys.argv[1])).start()
os._exit(0)
"""


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A server that runs."""
    with running_valkey() as valkey:
        yield valkey


def test_start(valkey: EmbeddedValkey) -> None:
    """When `start` returns the server answers, as one that is new enough and refuses writes rather than evict."""
    with connected(valkey) as client:
        assert client.ping()
        assert int(client.info("server")["redis_version"].split(".")[0]) >= 7
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_nobody_else(valkey: EmbeddedValkey) -> None:
    """The server listens on no port, and its socket is for its owner only."""
    with connected(valkey) as client:
        assert client.config_get("port")["port"] == "0"
    socket = valkey.socket
    assert socket.stat().st_mode & 0o077 == 0


def test_new_directory() -> None:
    """A missing data directory is created, for its owner only."""
    with short_directory() as directory:
        valkey = EmbeddedValkey(directory / "a" / "b")
        valkey.start()
        try:
            assert (directory / "a" / "b").stat().st_mode & 0o077 == 0
        finally:
            valkey.stop()


def test_stop_and_start(valkey: EmbeddedValkey) -> None:
    """After a restart all data is still stored, and the server is another process."""
    first = pid_of(valkey)
    with connected(valkey) as client:
        client.set("kept", "yes")
    valkey.stop()
    with pytest.raises(redis.ConnectionError), connected(valkey) as client:
        client.ping()
    valkey.start()
    assert pid_of(valkey) != first
    with connected(valkey) as client:
        assert client.get("kept") == b"yes"


def test_stop_twice(valkey: EmbeddedValkey) -> None:
    """Stopping a server that does not run is not an error."""
    valkey.stop()
    valkey.stop()


def test_stop_while_it_is_watched(valkey: EmbeddedValkey) -> None:
    """The watcher of a server does not restart it after `stop`."""
    watch = threading.Thread(target=valkey.watch)
    watch.start()
    valkey.stop()
    watch.join()
    with pytest.raises(redis.ConnectionError), connected(valkey) as client:
        client.ping()


def test_stop_one_that_hangs(valkey: EmbeddedValkey) -> None:
    """A suspended server that was asked to stop ends as soon as it is resumed."""
    process = pid_of(valkey)
    os.kill(process, signal.SIGSTOP)
    stop = threading.Thread(target=valkey.stop)
    stop.start()
    stop.join(3)  # longer than it is asked
    os.kill(process, signal.SIGCONT)
    stop.join()
    with pytest.raises(redis.ConnectionError), connected(valkey) as client:
        client.ping()


def test_never_started() -> None:
    """Stopping a server that was never started is not an error."""
    with short_directory() as directory:
        EmbeddedValkey(directory).stop()


def test_crash(valkey: EmbeddedValkey) -> None:
    """After a crash all acknowledged writes are still stored; the leftover socket does not prevent the start."""
    with connected(valkey) as client:
        for index in range(100):
            client.rpush("kept", index)
    os.kill(pid_of(valkey), signal.SIGKILL)
    valkey.stop()
    assert valkey.socket.exists()
    valkey.start()
    with connected(valkey) as client:
        assert client.llen("kept") == 100


def test_found_again() -> None:
    """A server that outlived its master is found, and can be stopped, by the next one."""
    with short_directory() as directory:
        valkey = EmbeddedValkey(directory)
        try:
            processes.run([sys.executable, "-c", MASTER_THAT_DIES, directory], cwd=ROOT, check=True)
            process = pid_of(valkey)
            valkey.start()
            assert pid_of(valkey) == process
        finally:
            valkey.stop()
        with pytest.raises(redis.ConnectionError), connected(valkey) as client:
            client.ping()


def test_one_service(valkey: EmbeddedValkey) -> None:
    """A directory that another service uses is rejected with an error that names the setting."""
    other = EmbeddedValkey(valkey.socket.parent)
    with pytest.raises(EmbeddedError, match="NOTIFIER_DATA_DIR"):
        other.start()
    with connected(valkey) as client:
        assert client.ping()


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path stays the same directory, wherever the process goes afterwards."""
    monkeypatch.chdir(tmp_path)
    valkey = EmbeddedValkey(Path("data"))
    monkeypatch.chdir("/")
    assert valkey.url == f"unix://{tmp_path.resolve()}/data/valkey.sock"


def test_long_path(tmp_path: Path) -> None:
    """A path that is too long for a Unix socket is rejected with an error that names the setting."""
    with pytest.raises(EmbeddedError, match=r"too long.*NOTIFIER_DATA_DIR"):
        EmbeddedValkey(tmp_path / ("x" * 100)).start()


def test_broken_data() -> None:
    """A server that cannot read its data does not start, and the error names the log file with the reason."""
    with running_valkey() as valkey:
        directory = valkey.socket.parent
        with connected(valkey) as client:
            client.set("kept", "yes")
        valkey.stop()
        [manifest] = directory.rglob("*.manifest")
        manifest.write_text("nonsense\n")
        with pytest.raises(EmbeddedError, match=r"valkey\.log"):
            valkey.start()
        assert (directory / "valkey.log").stat().st_size


@pytest.mark.parametrize("name", ["app#1", "app?x=1", "app%41", "app 1", "é"])
def test_any_directory(name: str) -> None:
    """The data directory may have any name, also one that means something else in a URL."""
    with short_directory() as directory:
        valkey = EmbeddedValkey(directory / name)
        valkey.start()
        try:
            with connected(valkey) as client:
                assert client.ping()
        finally:
            valkey.stop()


def test_directory_that_others_may_read() -> None:
    """In a directory that others may enter, the data is for its owner only, also that of earlier starts."""
    with short_directory() as directory:
        directory.chmod(0o755)
        (directory / "appendonlydir").mkdir(mode=0o755)
        valkey = EmbeddedValkey(directory)
        valkey.start()
        try:
            with connected(valkey) as client:
                client.set("secret", "text")
            files = [path for path in directory.rglob("*") if path.name != "lock" and not path.is_symlink()]
            assert len(files) > 3
            assert [path for path in files if path.stat().st_mode & 0o077] == []
        finally:
            valkey.stop()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_directory_that_others_may_write(mode: int) -> None:
    """A directory in which others may put a socket of their own is refused."""
    with short_directory() as directory:
        directory.chmod(mode)
        with pytest.raises(EmbeddedError, match="chmod 700"):
            EmbeddedValkey(directory).start()
