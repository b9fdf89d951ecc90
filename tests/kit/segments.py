"""Requests that arrive in one or in two segments: the service answers them in different ways, with the same result."""

import socket
from pathlib import Path

import pytest

from tests.kit.waiting import eventually

both_ways = pytest.mark.parametrize("split", [False, True], ids=["at once", "in two segments"])


def send(sock: socket.socket, data: bytes, *, split: bool) -> None:
    """Send a request; with `split`, all behind the first half of its head once the service has read that half."""
    half = len(data.partition(b"\r\n\r\n")[0]) // 2 if split else 0
    if half:
        sock.sendall(data[:half])
        eventually(lambda: _is_read(sock))
    sock.sendall(data[half:])


def _is_read(sock: socket.socket) -> bool:
    """Return whether the other end, on this machine, has accepted the connection and read what was sent."""
    ours, theirs = _written(sock.getsockname()), _written(sock.getpeername())
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues, *rest = line.split()[1:]
        if (local, remote) == (theirs, ours):
            inode = rest[4]
            return inode != "0" and int(queues.partition(":")[2], 16) == 0
    return False


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
