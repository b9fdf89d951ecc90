"""Handshakes in the process of a test: as the doorman answers them, and as gunicorn, Flask and flask-sock do."""

import contextlib
import socket
import time
from typing import Any, NamedTuple

from flask import Flask
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create
from werkzeug import Response

from notifier.connections.transport import Transport
from notifier.http import answers
from notifier.http.credentials import Credentials
from notifier.http.doorman import Doorman
from notifier.http.front import Front
from notifier.http.hosts import Hosts
from notifier.http.routes.websocket import WebSocketViews
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.requests import RequestLimits
from notifier.limits.responses import ResponseMemory
from notifier.limits.users import UserLimits
from notifier.protocol import identity
from notifier.protocol.forwarded import parse
from notifier.protocol.identity import Identity
from notifier.server import heads
from notifier.settings import AuthSettings, ConnectionSettings
from tests.kit.credentials import credentials_of

SECRET = "the-secret-of-these-handshakes-" * 2
PEER = ("127.0.0.1", 40000)
_SETTINGS = ConnectionSettings(max_connections=100)


class Opened(NamedTuple):
    """A stream that was opened: the answer to its handshake, and what its connection begins with."""

    answer: bytes
    identity: Identity | None
    early: bytes
    address: int | None


class Acceptor:
    """Takes transports, and closes them. `fault` is raised instead."""

    def __init__(self) -> None:
        self.has_room = True
        self.fault: Exception | None = None
        self.opened: list[tuple[Identity | None, bytes, int | None]] = []

    def require_room(self) -> None:
        assert self.has_room

    def open_stream(self, transport: Transport, identity: Identity | None, early: bytes, address: int | None) -> None:
        if self.fault:
            raise self.fault
        self.opened.append((identity, early, address))
        transport.abort()


class Handshakes:
    """One worker's way to handshakes, without a worker. Its peers are trusted proxies."""

    def __init__(self, public_url: tuple[str, ...] = (), verify: Any = None, **limits: Any) -> None:
        settings = LimitSettings(**limits)
        self.users = UserLimits(settings, 10)
        self.addresses = AddressLimits(settings)
        clients, memory = ClientAddresses(parse("127.0.0.0/8")), ResponseMemory(settings)
        self.limits = RequestLimits(clients, self.addresses, self.users, KeyLimits(settings), memory)
        self.acceptor: Any = Acceptor()
        self._verify = verify or (lambda token, now: identity.verify(token, (SECRET,), now))
        auth = AuthSettings(allowed_origins=("https://shop.example",), public_url=public_url)
        credentials = credentials_of(auth, lambda token: self._verify(token, time.time()), self.limits)
        hosts = Hosts(public_url)
        self.doorman = Doorman(hosts, credentials, self._verify, self.limits, self.acceptor, _SETTINGS)
        self._front = self._front_of(credentials, hosts)
        self._config = _config()

    def _front_of(self, credentials: Credentials, hosts: Hosts) -> Front:
        app = Flask(__name__)
        views = WebSocketViews(credentials, self.acceptor, _SETTINGS, self.addresses, has_echo=False)
        app.register_blueprint(views.blueprint())
        answers.install(app)
        return Front(app.wsgi_app, "/v1/notifications", lambda request: Response(), "test", hosts, self.limits)

    def at_once(self, data: bytes, peer: Any = PEER) -> Opened | None:
        """Return the stream that the doorman opens for a request; None: it leaves the request to gunicorn."""
        with _sockets() as (service, client):
            if not self.doorman.admit(service, peer, data):
                assert _received(client) == b""
                assert service.fileno() >= 0
                return None
            return Opened(_received(client), *self.acceptor.opened.pop())

    def by_flask(self, data: bytes, peer: Any = PEER) -> Opened | None:
        """Return the stream that flask-sock opens for a request; None: it is rejected."""
        with _sockets() as (service, client):
            try:
                request = next(_Requests(self._config, [data], peer))
                # The socket of a test writes nothing but the answer to a handshake.
                response, environ = create(request, service, peer, ("127.0.0.1", 8080), self._config)
                list(self._front(environ, lambda status, headers, info=None: None))
            except (ParseException, NoMoreData):
                return None
            except StopIteration:
                if self.acceptor.opened:
                    return Opened(_received(client), *self.acceptor.opened.pop())
            return None


class _Requests(RequestParser):  # type: ignore[misc]
    mesg_class = heads.BoundedRequest


def _config() -> Config:
    config = Config()
    config.set("limit_request_line", heads.MAX_LINE)
    config.set("limit_request_fields", heads.MAX_FIELDS)
    config.set("limit_request_field_size", heads.MAX_FIELD)
    config.set("forwarder_headers", heads.FORWARDER_HEADERS)
    return config


@contextlib.contextmanager
def _sockets() -> Any:
    service, client = socket.socketpair()
    service.setblocking(False)
    client.setblocking(False)
    with service, client:
        yield service, client


def _received(client: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return client.recv(65536)
    return b""
