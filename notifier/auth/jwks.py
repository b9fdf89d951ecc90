"""Fetching key sets: one request to the server of an issuer, bounded in time and size. The server is not trusted."""

import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from notifier import __version__
from notifier.protocol.jwk import MAX_BYTES

DEADLINE = 5.0  # seconds, from the connection to the last byte
_MAX_HEAD = 65_536  # bytes
_HEADERS = {
    "Accept": "application/jwk-set+json, application/json",
    "User-Agent": f"notifier/{__version__}",
    "Connection": "close",
}


class FetchError(Exception):
    """The key set could not be fetched. The text says why; it contains nothing that the server has sent."""


def fetch(url: str, deadline: float = DEADLINE) -> bytes:
    """Return the body of the answer to a GET. Redirects are not followed. `deadline` is in seconds.

    Raises:
        FetchError: there was no answer 200 in time, or it is too large.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), deadline) as sock, _ends_after(sock, deadline) as is_over:
            try:
                return _exchange(sock, parts, deadline)
            finally:
                if is_over.is_set():
                    raise FetchError(f"it took longer than {deadline:g} seconds")
    except FetchError:
        raise
    except Exception as error:  # whatever the libraries make of such an answer
        raise FetchError(_reason(error)) from error


@functools.cache
def secure_context() -> ssl.SSLContext:
    """Return the context of all requests: to read the certificates of the system takes some ten milliseconds."""
    return ssl.create_default_context()


@contextlib.contextmanager
def _ends_after(sock: socket.socket, deadline: float) -> Any:
    """Shut a connection down after the deadline: a server that sends a byte now and then outlasts any timeout."""
    is_over = threading.Event()
    # TLS takes the descriptor over; a copy of it still ends the connection.
    with socket.socket(fileno=os.dup(sock.fileno())) as copy:

        def end() -> None:
            is_over.set()
            with contextlib.suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(deadline, end)
        timer.daemon = True
        timer.start()
        try:
            yield is_over
        finally:
            timer.cancel()


def _exchange(sock: socket.socket, parts: Any, deadline: float) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    end = time.monotonic() + deadline
    if parts.scheme == "https":
        sock = secure_context().wrap_socket(sock, server_hostname=parts.hostname)
    with contextlib.closing(sock), contextlib.closing(http.client.HTTPConnection(parts.hostname)) as connection:
        connection.sock = _Bounded(sock, end)
        connection.request("GET", path, headers={"Host": parts.netloc, **_HEADERS})
        answer = connection.getresponse()
        if answer.status != 200:
            raise FetchError(f"the answer has the status {answer.status}")
        body = answer.read(MAX_BYTES + 1)  # without a number as much memory is taken as the answer announces
        if len(body) > MAX_BYTES:
            raise FetchError(f"the answer is larger than {MAX_BYTES} bytes")
        if answer.length:
            raise FetchError("the answer is incomplete")
        return body


class _Bounded:
    """A socket for `http.client` from which only so many bytes are read, and only until `end` in monotonic seconds.

    The bounds hold for everything: a server may also send headers, chunks and interim answers without an end.
    """

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._socket = sock
        self._end = end

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self._end))

    def close(self) -> None:
        """Close nothing: `http.client` closes its socket before the body is read."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, end: float) -> None:
        self._socket = sock
        self._end = end
        self._left = MAX_BYTES + _MAX_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        count = self._socket.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise FetchError(f"the answer is larger than {MAX_BYTES} bytes")
        return count


def _reason(error: Exception) -> str:
    """Return what failed, without text of the server."""
    if isinstance(error, TimeoutError):
        return "there was no answer in time"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not valid HTTP ({type(error).__name__})"
    return str(error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
