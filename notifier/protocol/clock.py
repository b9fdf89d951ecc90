"""A hybrid logical clock: the highest time that this worker has seen in any id, from any worker."""

from notifier.protocol.cursor import Cursor


class Clock:
    """Rises only. Every append names it, so that ids never run backwards from one channel to another."""

    def __init__(self) -> None:
        self.ms = 0

    def observe(self, ms: int) -> None:
        """Take over a time in milliseconds, if it is later."""
        if ms > self.ms:
            self.ms = ms

    @property
    def cursor(self) -> Cursor:
        """The cursor from which somebody who has heard everything until now may resume."""
        return Cursor(self.ms, 0)
