"""gunicorn's gevent worker, with an end that idle HTTP connections do not delay."""

import contextlib
import time
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import gevent
from gevent.server import StreamServer
from gunicorn.config import Config
from gunicorn.workers.ggevent import GeventWorker

from notifier.errors import InternalError, RateLimited
from notifier.http.body import PATIENT, Pace
from notifier.loop import give_way
from notifier.server.accept_loop import AcceptLoop
from notifier.server.heads import answer_to_timeout, answer_with, problem_of
from notifier.server.idle import IdleConnections
from notifier.server.paced_socket import PacedSocket
from notifier.telemetry import metrics

_TURNS = 8  # of others between two requests that have arrived at once: an answer to one of them takes several
_QUIET = 1.0  # seconds in which one malformed request is logged
_ANSWER = 1.0  # seconds that an answer to a client may take that is closed

_client: ContextVar[Any] = ContextVar("client")  # the socket of the greenlet


class Worker(GeventWorker):  # type: ignore[misc]
    """Closes idle connections when it ends. gunicorn would wait for all connections, and then kill the worker.

    It also bounds how many connections an address has here, tells clients that are too slow, and takes turns between
    connections: gevent does so only when one has to wait, and a client that sends fast enough never lets it.
    """

    pace: Pace = PATIENT  # of clients that read answers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle = IdleConnections(self.worker_connections)
        self._quiet_until = 0.0  # monotonic seconds
        self._bound: dict[Any, _Bound] = {}  # by listener

    def init_process(self) -> None:
        """Serve until the worker ends."""
        keep_values(self.cfg)
        super().init_process()

    def run(self) -> None:
        """Accept connections until the worker ends."""
        self._bound = {listener: _Bound(listener.getsockname()) for listener in self.sockets}
        super().run()

    def server_class(self, listener: Any, *, spawn: Any, **_: Any) -> StreamServer:
        """Return what accepts the connections of a listener. gunicorn calls this, with more than is needed."""
        handle = partial(self.handle, listener)
        doorman = self.wsgi.extensions.get("notifier.doorman")
        if doorman is None or self.cfg.proxy_protocol != "off" or "h2" in self.cfg.http_protocols:
            server = StreamServer(listener, handle=handle, spawn=spawn)
        else:
            server = AcceptLoop(listener, handle, spawn, doorman.admit)
        if self.cfg.workers > 1:
            server.max_accept = 1  # as in gunicorn: the others have their share
        return server

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection, unless its address has too many.

        The listener may be closed by now: other workers cannot serve a connection that this one has accepted.
        """
        try:
            leave = self.wsgi.extensions["notifier"].usage.requests.enter_peer(addr)
        except RateLimited as problem:
            with contextlib.suppress(OSError), gevent.Timeout(_ANSWER, False):
                client.sendall(answer_with(problem))
            return
        _client.set(client)
        self.idle.enter()
        try:
            super().handle(self._bound[listener], client, addr)
        finally:
            self.idle.leave()
            leave()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer a request. Then others have their turn, and several of them if the client has sent many at once."""
        super().handle_request(listener_name, req, PacedSocket(sock, self.pace, self.idle), addr)
        if not req.unreader.buf.tell():
            gevent.sleep(0)  # nearly all clients wait for the answer
            return
        for _ in range(_TURNS):
            give_way()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End as after SIGTERM: gunicorn's immediate exit may interrupt closing handshakes."""
        self.handle_exit(sig, frame)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that the application does not see, or whose answer failed before it began."""
        problem = problem_of(exc)
        if isinstance(problem, InternalError):
            self.log.error("A request failed outside of the application", exc_info=exc)
        elif time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET
            self.log.warning("Rejected a request from %s: %s", addr[0] if addr else "a socket", type(exc).__name__)
        with contextlib.suppress(OSError):
            PacedSocket(client, self.pace, self.idle).sendall(answer_with(problem))

    def timeout_ctx(self) -> "_Head":
        """Return the timeout for the head of a request."""
        return _Head(self.cfg.keepalive, self.idle)


def keep_values(config: Config) -> None:
    """Make the settings of gunicorn attributes of their own.

    A configuration computes each value anew, and gunicorn reads some thirty for a request.
    """
    for name, setting in config.settings.items():
        vars(config)[name] = setting.get()


class _Bound(NamedTuple):
    """Takes the place of a listener, whose name gunicorn reads for each connection: a closed one has none."""

    name: Any

    def getsockname(self) -> Any:
        """Return the address that the listener was bound to."""
        return self.name


class _Head(gevent.Timeout):  # type: ignore[misc]
    """The timeout for the head of a request. When it expires, gunicorn closes the connection."""

    def __init__(self, seconds: float, idle: IdleConnections) -> None:
        super().__init__(seconds, False)
        self._idle = idle
        self._greenlet = gevent.getcurrent()

    def __enter__(self) -> "_Head":
        self._idle.add(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        self._idle.discard(self)
        has_expired = super().__exit__(*error)
        answer = answer_to_timeout() if has_expired else None
        if answer:
            metrics.LIMITED.labels("head_timeout").inc()
            with contextlib.suppress(OSError), gevent.Timeout(_ANSWER, False):
                _client.get().sendall(answer)
        return has_expired

    def expire(self) -> None:
        """Expire the timeout early."""
        gevent.get_hub().loop.run_callback(self._end)

    def _end(self) -> None:
        if self in self._idle:  # otherwise the head has arrived in the meantime
            self._greenlet.throw(self)
