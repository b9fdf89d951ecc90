"""The address of the service: whether it can be used."""

import errno
import socket
import time
from collections.abc import Iterable, Mapping

_ATTEMPTS, _PAUSE = 5, 1.0  # seconds: the service before may not have ended yet
_PATIENCE = 60_000  # ms
_INHERITED = ("LISTEN_FDS", "GUNICORN_FD")  # systemd, or a gunicorn that is replaced, gives the socket


def require_free(bind: str, environ: Mapping[str, str]) -> None:
    """Wait until the service can listen at an address, unless the environment says that it has the socket already.

    Raises:
        OSError: it cannot, and no other service is about to end.
    """
    if bind.startswith(("unix:", "fd:")) or not environ.keys().isdisjoint(_INHERITED):
        return
    host, _, port = bind.rpartition(":")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _listen(host.strip("[]"), int(port))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE)


def bound_writes(listeners: Iterable[socket.socket]) -> None:
    """Have the kernel close connections of listeners whose client reads nothing for a minute.

    `PacedSocket` limits how long the worker waits for it; this also ends what the kernel still has to send after that.
    Connections inherit this.
    """
    for listener in listeners:
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE)


def _listen(host: str, port: int) -> None:
    for family, kind, _, _, address in socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[:1]:
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
