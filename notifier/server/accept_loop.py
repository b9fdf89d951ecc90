"""The accept loop: takes connections from the kernel, and has the doorman open those that begin with a handshake."""

import _socket  # sockets without gevent: most are handed over before anything waits for them
import logging
from collections.abc import Callable
from typing import Any

import gevent.socket
from gevent.server import StreamServer

logger = logging.getLogger(__name__)

_FIRST = 8192  # bytes that are read at first, as many as gunicorn reads at once
_MOST = 8  # connections that are accepted until other sockets have their turn


class AcceptLoop(StreamServer):  # type: ignore[misc]
    """Accepts the connections of a listener.

    `admit` is called with a socket, the address of its peer and the bytes that have already arrived. It returns whether
    it has taken the socket; it may not wait. `handle` serves the others, in a greenlet of the pool `spawn`.
    """

    max_accept = _MOST

    def __init__(
        self,
        listener: Any,
        handle: Callable[[Any, Any], None],
        spawn: Any,
        admit: Callable[[Any, Any, bytes], bool],
    ) -> None:
        super().__init__(listener, handle=handle, spawn=spawn)
        self._admit = admit

    def do_read(self) -> tuple[Any, Any] | None:
        """Accept a connection, if there is one."""
        listener = self.socket
        try:
            fd, peer = listener._accept()
        except BlockingIOError:
            return None
        return _socket.socket(listener.family, listener.type, listener.proto, fd), peer

    def do_handle(self, sock: Any, peer: Any) -> None:
        """Serve a connection. Others are accepted, whatever happens to this one."""
        try:
            early = _read(sock)
            if early and self._admit(sock, peer, early):
                return
            begun = BegunSocket(sock.family, sock.type, sock.proto, sock.detach(), early=early)
        except Exception:
            logger.exception("A connection could not be opened")
            sock.close()
            return
        super().do_handle(begun, peer)


class BegunSocket(gevent.socket.socket):  # type: ignore[misc]
    """A socket of gevent of which some bytes were read `early`. gunicorn reads with `recv` only."""

    __slots__ = ("_early",)

    def __init__(self, *arguments: Any, early: bytes = b"", **others: Any) -> None:
        super().__init__(*arguments, **others)
        self._early = early

    def recv(self, size: int, *flags: int) -> bytes:
        """Return bytes that were read early, or wait for others."""
        early = self._early
        if early:
            self._early = early[size:]
            return early[:size]
        received: bytes = super().recv(size, *flags)
        return received


def _read(sock: Any) -> bytes:
    """Return what has arrived, without waiting. Clients mostly send their request with TCP's handshake, or just after.

    If the client has gone, gunicorn will notice.
    """
    sock.setblocking(False)
    try:
        data: bytes = sock.recv(_FIRST)
    except OSError:
        return b""
    return data
