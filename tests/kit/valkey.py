"""The embedded Valkey in a temporary directory."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis

from notifier.server.embedded_valkey import EmbeddedValkey


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory whose path is short enough for a Unix socket, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="notifier-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def running_valkey() -> Iterator[EmbeddedValkey]:
    """Run a server."""
    with short_directory() as directory:
        valkey = EmbeddedValkey(directory)
        valkey.start()
        try:
            yield valkey
        finally:
            valkey.stop()


@contextlib.contextmanager
def connected(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """Connect a client that shares no code with the service."""
    with redis.Redis.from_url(valkey.url) as client:
        yield client


def pid_of(valkey: EmbeddedValkey) -> int:
    """Return the process id of a server."""
    with connected(valkey) as client:
        return int(client.info("server")["process_id"])
