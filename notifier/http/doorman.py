"""The doorman: answers plain upgrades of the stream as soon as their connections are accepted, without gunicorn.

gunicorn, Flask and flask-sock take most of the time of a handshake. They still answer all other requests, and every
request that has to be rejected: the doorman only decides whether they would accept it, by the same rules. Nothing here
may wait, because the event loop calls it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from werkzeug import Request

from notifier.connections.acceptor import Acceptor
from notifier.connections.transport import take_over
from notifier.errors import Problem
from notifier.http.credentials import Credentials
from notifier.http.handshake import accept
from notifier.http.hosts import Hosts
from notifier.limits.requests import RequestLimits
from notifier.protocol import plain_upgrade
from notifier.protocol.identity import Identity, KeysPending
from notifier.settings import ConnectionSettings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)


class _Admission(NamedTuple):
    """A handshake that is accepted: its answer, and what the connection begins with."""

    answer: bytes
    identity: Identity | None
    early: bytes
    address: int | None


class Doorman:
    """Opens streams. `verify` returns the identity of a token at a Unix time, or raises; it does not wait."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials,
        verify: Callable[[str, float], Identity],
        limits: RequestLimits,
        acceptor: Acceptor,
        settings: ConnectionSettings,
    ) -> None:
        self._hosts = hosts
        self._credentials = credentials
        self._verify = verify
        self._limits = limits
        self._acceptor = acceptor
        self._settings = settings

    def admit(self, sock: Any, peer: Any, data: bytes) -> bool:
        """Open a stream on a socket of which `data` was read, and return whether that was possible.

        If not, nothing was counted or sent, and gunicorn must serve the connection with what was read. The socket of
        a stream belongs to it. `peer` is the address that the socket was accepted with.

        Raises:
            Exception: the stream could not be opened; its socket is closed.
        """
        admission = self._examine(peer, data)
        if admission is None:
            return False
        self._open(sock, admission)
        return True

    def _examine(self, peer: Any, data: bytes) -> _Admission | None:
        upgrade = plain_upgrade.read(data)
        if upgrade is None or not self._acceptor.has_room:
            return None
        try:
            return self._check(peer, *upgrade)
        except (Problem, KeysPending):
            return None  # gunicorn's request says why, or waits
        except Exception:
            logger.exception("A handshake could not be checked before gunicorn")
            return None

    def _check(self, peer: Any, environ: dict[str, str], early: bytes) -> _Admission | None:
        """Return how a request is accepted; None: gunicorn must decide.

        Raises:
            Problem: it is rejected.
            KeysPending: the keys of its token's issuer are being fetched.
        """
        environ["REMOTE_ADDR"] = peer[0] if isinstance(peer, tuple) else ""
        self._hosts.check(environ)
        answer = accept(environ)
        identity = self._identity(environ)
        address = self._limits.address_of(environ)
        if not self._limits.has_room(peer, address, identity and identity.user):
            return None
        addresses = self._limits.addresses
        if not addresses.has_room_for_stream(address):
            return None
        addresses.require_stream(address)
        return _Admission(answer, identity, early, address)

    def _identity(self, environ: dict[str, str]) -> Identity | None:
        """Return the user of a request; None: it has no token, as in most cases."""
        if "HTTP_AUTHORIZATION" not in environ and "HTTP_COOKIE" not in environ:
            return None
        token = self._credentials.token_of(Request(environ))
        return None if token is None else self._verify(token, time.time())

    def _open(self, sock: Any, admission: _Admission) -> None:
        transport = take_over(sock, self._settings.send_buffer_bytes, self._settings.max_backlog_bytes)
        try:
            transport.write(admission.answer)
            self._acceptor.open_stream(transport, admission.identity, admission.early, admission.address)
        except Exception:
            transport.abort()
            raise
        metrics.FAST_HANDSHAKES.inc()
