"""gunicorn's gevent worker, with an end that idle HTTP connections do not delay."""

import contextlib
import time
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

from notifier.errors import InternalError
from notifier.server.heads import answer_with, problem_of

_QUIET = 1.0  # seconds in which one malformed request is logged
_IDLE = 1.0  # seconds: a client with a request has sent its head by then


class Worker(GeventWorker):  # type: ignore[misc]
    """Closes idle connections when it ends. gunicorn would wait for all connections, and then kill the worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads: set[_Head] = set()
        self._quiet_until = 0.0  # monotonic seconds

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
            client.sendall(answer_with(problem))

    def timeout_ctx(self) -> "_Head":
        """Return the timeout for the head of a request."""
        return _Head(self.cfg.keepalive, self._heads)

    def close_idle(self) -> None:
        """Close the connections that wait for a request."""
        before = time.monotonic() - _IDLE
        for head in self._heads:
            if head.began < before:
                head.expire()


class _Head(gevent.Timeout):  # type: ignore[misc]
    """The timeout for the head of a request. When it expires, gunicorn closes the connection."""

    def __init__(self, seconds: float, heads: "set[_Head]") -> None:
        super().__init__(seconds, False)
        self.began = time.monotonic()
        self._heads = heads
        self._greenlet = gevent.getcurrent()

    def __enter__(self) -> "_Head":
        self._heads.add(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        self._heads.discard(self)
        return super().__exit__(*error)

    def expire(self) -> None:
        """Let the timeout expire early."""
        gevent.get_hub().loop.run_callback(self._end)

    def _end(self) -> None:
        if self in self._heads:  # otherwise the head has arrived in the meantime
            self._greenlet.throw(self)
