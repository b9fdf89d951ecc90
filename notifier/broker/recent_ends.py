"""The ends of the logs that this worker has appended to lately.

A server that is killed, or a replica that takes over, may lack entries that were acknowledged. Subscribers of a channel
notice that, since they know its last entry. If nobody is connected, only the worker that has published knows.
"""

import time
from collections.abc import Callable, Iterable

from notifier.protocol import cursor

_LASTING = 150.0  # seconds; an end is remembered for one to two times as long
_MOST = 10_000  # channels in that time; beyond it, the oldest are forgotten earlier
# Seconds for which every end is remembered, however many there are. A server with `appendfsync everysec` may hold two
# seconds of acknowledged entries in its memory while the disk is slow.
_CERTAIN = 4.0


class RecentEnds:
    """The last acknowledged entry of each channel, of the last minutes. `now` returns monotonic seconds.

    `aside` has channels with entries that must be looked for, because the server may be another one now. Later entries
    do not replace them: the server may have those, and not these.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since = now()
        self._current: dict[str, str] = {}
        self._previous: dict[str, str] = {}
        self.aside: set[tuple[str, str]] = set()

    def note(self, channel: str, entry: str) -> None:
        """Remember an entry that was appended, given its cursor as text; never go back to an earlier one."""
        age = self._now() - self._since
        if age > _LASTING or (len(self._current) >= _MOST and age > _CERTAIN):
            self._previous, self._current = self._current, {}
            self._since = self._now()
        known = self._current.get(channel)
        if known is None or cursor.is_later(entry, known):
            self._current[channel] = entry

    def doubt(self, channel: str, entry: str) -> None:
        """Set an entry aside that was appended, perhaps to another server than the present one."""
        self.aside.add((channel, entry))

    def set_aside(self) -> None:
        """Set all entries aside: the server may be another one now."""
        for channel, entry in self._previous.items():
            known = self._current.get(channel)
            if known is None or cursor.is_later(entry, known):
                self.doubt(channel, entry)
        self.aside.update(self._current.items())
        self._previous, self._current = {}, {}

    def settle(self, entries: Iterable[tuple[str, str]]) -> None:
        """Remember entries as before that have been looked for."""
        for channel, entry in entries:
            self.aside.discard((channel, entry))
            self.note(channel, entry)
