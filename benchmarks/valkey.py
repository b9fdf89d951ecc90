"""A Valkey with an append-only file, on its own port, that a measure may kill and restart."""

import contextlib
import subprocess
import tempfile
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from notifier.server.embedded_valkey import find_server

START_SECONDS = 20


class Valkey(contextlib.ExitStack):
    """One server on 127.0.0.1. `with Valkey(port) as valkey` starts and stops it."""

    def __init__(self, port):
        """Prepare the server without starting it."""
        super().__init__()
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._data = self.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-valkey-"))
        self._client = redis.Redis(port=port, socket_timeout=2, retry=Retry(NoBackoff(), 0))
        self._process = None

    def __enter__(self):
        """Start it."""
        self.callback(self.kill)
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def start(self):
        """Start it with its stored data, wait until it answers, and return that time (CLOCK_MONOTONIC, seconds)."""
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self._data, "appendonly": "yes", "save": ""}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([find_server(), *words], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError):
                self._client.ping()
                return time.monotonic()
            time.sleep(0.005)
        raise RuntimeError("Valkey did not start")

    def kill(self):
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def calls(self, command):
        """Return how often a command was executed since the start."""
        return self._client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)
