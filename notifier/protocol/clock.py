"""A hybrid logical clock: the highest time that this worker has seen in any id, from any worker."""

from notifier.protocol.cursor import Cursor


class Clock:
    """Never goes back. Every append passes it on, so that the order of ids is the same on all channels."""

    def __init__(self) -> None:
        self.ms = 0

    def observe(self, ms: int) -> None:
        """Advance to a time in milliseconds, if it is later."""
        if ms > self.ms:
            self.ms = ms

    @property
    def cursor(self) -> Cursor:
        """The cursor from which a client that has received everything until now may resume."""
        return Cursor(self.ms, 0)
