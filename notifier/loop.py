"""Loops: background threads that survive every failure of the work they do."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from notifier.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

_TURN = 0.001  # seconds of work until other threads have their turn
_MOMENT = 1e-9  # seconds

Each = TypeVar("Each")


def give_way() -> None:
    """Give all others their turn, also those whose sockets have something to read.

    gevent looks at no socket during a pause of no length, but only after fifty of them: until then, all greenlets that
    make such pauses go on in turn, while requests wait.
    """
    time.sleep(_MOMENT)


def in_turns(items: Iterable[Each]) -> Iterator[Each]:
    """Yield items, and give other threads their turn each millisecond, however many items there are."""
    begin = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - begin > _TURN:
            give_way()
            begin = time.monotonic()


class Loop:
    """A daemon thread that calls `step` until the loop is stopped.

    A step that raises does not end the thread: the failure is logged, and the thread pauses before the next step. The
    first pause takes `pause` seconds; pauses double up to `longest_pause` until a step succeeds. Up to half of each
    pause is left out at random, so that workers do not retry in step. There is no pause after a step that succeeds, so
    `step` itself must wait for work.
    """

    def __init__(
        self, name: str, step: Callable[[], None], *, pause: float = 0.5, longest_pause: float | None = None
    ) -> None:
        self._name = name
        self._step = step
        self._first_pause = pause
        self._longest_pause = pause if longest_pause is None else longest_pause
        self._is_stopped = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """End after the step that is running; if that step raises, nothing is logged."""
        self._is_stopped = True

    def _run(self) -> None:
        pause = self._first_pause
        while not self._is_stopped:
            try:
                self._step()
                pause = self._first_pause
            except Exception as error:
                if self._is_stopped:
                    return
                self._log(error)
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(2 * pause, self._longest_pause)

    def _log(self, error: Exception) -> None:
        """Log an outage of Redis as a warning, and any other exception as a fault of this service."""
        if isinstance(error, BrokerUnavailable):
            logger.warning("The %s waits for Redis: %s", self._name, error.detail)
        else:
            logger.error("The %s failed", self._name, exc_info=error)
