"""A Valkey that a test can stop, kill and restart, and the settings of a service that notices it quickly."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from notifier.server.embedded_valkey import find_server
from tests.kit import environment
from tests.kit.ports import free_port
from tests.kit.service import Service
from tests.kit.waiting import eventually

FAST = {"broker_heartbeat": 0.3, "broker_deadline": 1.5, "redis_timeout": 5, "workers": 2}


class Valkey:
    """A Valkey server on a TCP port. Its data are in an append-only file and survive a restart.

    It leaves to the system when they go to the disk: it would wait for a slow disk longer than a service of these tests
    waits for it.
    """

    def __init__(self, directory: Path, replica_of: int = 0) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [find_server(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory)]
        self._command += ["--appendonly", "yes", "--appendfsync", "no", "--save", "", "--repl-diskless-sync-delay", "0"]
        if replica_of:
            self._command += ["--replicaof", f"127.0.0.1 {replica_of}"]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(self._command, env=environment.basic(), stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL waits for the end."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def end(self) -> None:
        """Kill the server, which may be stopped."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def valkey(replica_of: int = 0) -> Iterator[Valkey]:
    """Run a server in a temporary directory; `replica_of` is the port of its primary, if it has one."""
    directory = Path(tempfile.mkdtemp(prefix="notifier-"))
    server = Valkey(directory, replica_of)
    try:
        server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(directory)


def is_ready(service: Service) -> bool:
    """Return whether the worker that answers is ready."""
    return service.request("GET", "/readyz").status == 200


def url(port: int) -> str:
    """Return the Redis URL of a port of this machine."""
    return f"redis://127.0.0.1:{port}/0"
