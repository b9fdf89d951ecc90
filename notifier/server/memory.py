"""Memory that the worker has freed. glibc keeps it for later, for as long as something small lies behind it.

A thousand requests with long heads leave 70 MB in that way. So after many connections have ended, glibc is asked to
return what is free to the system. That takes about 20 milliseconds for 100 MB, and less than one if little is free.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable

MANY = 100  # connections: fewer leave little
PAUSE = 5.0  # seconds between two requests to glibc


def trim() -> None:
    """Return free memory to the system. Other C libraries have no such function."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class FreedMemory:
    """Trims memory when so many connections have ended that half of the most, and at least a hundred, are gone."""

    def __init__(self, trim: Callable[[], None] = trim, clock: Callable[[], float] = time.monotonic) -> None:
        self._trim = trim
        self._clock = clock
        self._most = 0  # connections since memory was trimmed
        self._next = 0.0

    def note(self, connections: int) -> None:
        """Note how many connections are open now."""
        self._most = max(self._most, connections)
        ended = self._most - connections
        if ended >= MANY and ended >= connections and self._clock() >= self._next:
            self._trim()
            self._most, self._next = connections, self._clock() + PAUSE
