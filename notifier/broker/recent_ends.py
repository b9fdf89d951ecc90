"""The ends of the logs that this worker has appended to lately.

A server that is killed, or a replica that takes over, may lack entries that were acknowledged. Subscribers of a channel
notice that, since they know its last entry. If nobody is connected, only the worker that has published knows.
"""

import time
from collections.abc import Callable, Iterator

from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor

_LASTING = 150.0  # seconds; an end is remembered for one to two times as long
_MOST = 10_000  # channels in that time; beyond it, the oldest are forgotten earlier
# Seconds for which every end is remembered, however many there are. A server with `appendfsync everysec` may hold two
# seconds of acknowledged entries in its memory while the disk is slow.
_CERTAIN = 4.0


class RecentEnds:
    """The last acknowledged entry of each channel, of the last minutes. `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since = now()
        self._current: dict[str, str] = {}
        self._previous: dict[str, str] = {}

    def note(self, channel: str, entry: str) -> None:
        """Remember an entry that was appended, given its cursor as text; never go back to an earlier one."""
        age = self._now() - self._since
        if age > _LASTING or (len(self._current) >= _MOST and age > _CERTAIN):
            self._previous, self._current = self._current, {}
            self._since = self._now()
        known = self._current.get(channel)
        if known is None or cursor.is_later(entry, known):
            self._current[channel] = entry

    def __iter__(self) -> Iterator[tuple[str, Cursor]]:
        """Yield channels with their last entries."""
        for channel in self._previous | self._current:
            ends = [known[channel] for known in (self._previous, self._current) if channel in known]
            yield channel, max(map(cursor.parse, ends))
