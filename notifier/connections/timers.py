"""Timers: ticks the connections of a worker when they are due."""

import time
from collections.abc import Callable

from notifier.connections.websocket import Connection
from notifier.loop import Loop, give_way
from notifier.protocol.wheel import Wheel
from notifier.telemetry import metrics

YIELD_EVERY = 200  # connections, about half a millisecond of work: requests have their turn in between
_TURN = 0.5  # seconds between two looks at the wheel


class Timers:
    """One thread that turns a timer wheel, and calls `each_turn` after every turn.

    The delay of its turns is how late the event loop is.
    """

    def __init__(self, each_turn: Callable[[], None]) -> None:
        self._each_turn = each_turn
        self._wheel: Wheel[Connection] = Wheel(time.time())

    def start(self) -> None:
        """Start the thread."""
        Loop("timer wheel", self._turn).start()

    def schedule(self, connection: Connection, due: float) -> None:
        """Call the connection's `tick` once, up to two seconds after `due`, a Unix time within the next minute."""
        self._wheel.add(connection, due)

    def _turn(self) -> None:
        begin = time.monotonic()
        time.sleep(_TURN)
        metrics.LOOP_DELAY.set(time.monotonic() - begin - _TURN)
        self._tick(time.time())
        self._each_turn()

    def _tick(self, now: float) -> None:
        for count, connection in enumerate(self._wheel.turn(now), 1):
            connection.tick(now)
            if not count % YIELD_EVERY:
                give_way()
