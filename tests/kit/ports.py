"""Free ports for servers."""

import fcntl
import functools
import os
import random
import socket
import tempfile

# Below the ports of outgoing connections: one of these could take the port of a service that is just
# restarting, or not yet there.
_PORTS = range(12_000, 32_000)
_taken: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and which no other process that runs tests has been given.

    While a service restarts, nothing listens on its port: a service of another process could start there.
    """
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and _take(port):
                return port


def _take(port: int) -> bool:
    """Return whether this process has the port from now on. Other processes find one byte of a file locked."""
    if port in _taken:
        return False
    try:
        fcntl.lockf(_descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


@functools.cache
def _descriptor() -> int:
    """Return the descriptor of the file of the locks. It is kept open: the locks end with it."""
    return os.open(
        os.path.join(tempfile.gettempdir(), f"notifier-ports-{os.getuid()}"), os.O_WRONLY | os.O_CREAT, 0o600
    )
