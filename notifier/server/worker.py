"""gunicorn's gevent worker, whose idle connections do not keep it from ending."""

import time
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

_IDLE = 1.0  # seconds; whoever was to send a request on a new connection has done so by then


class Worker(GeventWorker):  # type: ignore[misc]
    """gunicorn waits for all connections when a worker ends, also for those that ask for nothing, and kills it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads: set[_Head] = set()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End as after SIGTERM: what gunicorn does to end at once may break off the goodbyes."""
        self.handle_exit(sig, frame)

    def timeout_ctx(self) -> "_Head":
        """Return what bounds the wait for the head of a request."""
        return _Head(self.cfg.keepalive, self._heads)

    def close_idle(self) -> None:
        """Close the connections on which no request is being answered."""
        before = time.monotonic() - _IDLE
        for head in self._heads:
            if head.began < before:
                head.expire()


class _Head(gevent.Timeout):  # type: ignore[misc]
    """The wait for the head of a request. When it is over, gunicorn closes the connection."""

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
        """End the wait early."""
        gevent.get_hub().loop.run_callback(self._end)

    def _end(self) -> None:
        if self in self._heads:  # else the head has come in the meantime
            self._greenlet.throw(self)
