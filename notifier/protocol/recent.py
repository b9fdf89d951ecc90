"""Recent entries: what a worker has heard lately, so that who was away for a moment is served without Redis."""

from collections import deque

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, REMOVED, Entry, Page

_LASTS = 60_000  # ms: no log forgets within it because of age
_OVERHEAD = 400  # bytes of an entry beside its body
_REPLACES, _EXPIRES = b'"collapse_key":', b'"expires_at":'


class _Run:
    """Entries of one channel that follow each other: all that its log has between `start` and `last`.

    A log that has lost its end goes on before `seen`, what was known of it: who has not had that is to be told.
    """

    __slots__ = ("entries", "last", "seen", "start")

    def __init__(self, start: bytes, seen: bytes) -> None:
        self.start = self.last = start
        self.seen = seen
        self.entries: deque[Entry] = deque()


class Recent:
    """The latest entries of all channels that a worker hears; at most `limit` bytes, counted over all of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._runs: dict[str, _Run] = {}
        self._order: deque[tuple[str, _Run, Entry]] = deque()

    def hear(self, channel: str, entries: list[Entry], seen: bytes) -> None:
        """Take live entries of a channel, in order. `seen` is the last one that was known of its log before them."""
        for entry in entries:
            if entry.kind != EPHEMERAL:
                self._take(channel, entry, seen)
        while self._size > self._limit:
            self._drop_oldest()

    def page(self, channel: str, position: Cursor, last: bytes, now: int) -> Page | None:
        """Return what the log of a channel has after a position and up to `last`; None: only the log knows.

        `now` is in Unix ms.
        """
        run = self._runs.get(channel)
        if run is None or run.last != last or position.ms < now - _LASTS:
            return None
        if position < cursor.parse(run.start) or position < cursor.parse(run.seen):
            return None
        return Page([entry for entry in run.entries if cursor.parse(entry.id) > position], True, BEGINNING)

    def forget(self, channel: str) -> None:
        """Forget a channel."""
        self._runs.pop(channel, None)

    def clear(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self._order.clear()
        self._size = 0

    def _take(self, channel: str, entry: Entry, seen: bytes) -> None:
        if _EXPIRES in entry.body:
            self._runs.pop(channel, None)  # what follows it begins a new run
            return
        run = self._runs.get(channel)
        # What takes another entry out of the log would have to take it out of here, too: it begins a new run.
        if run is None or entry.previous != run.last or entry.kind == REMOVED or _REPLACES in entry.body:
            run = self._runs[channel] = _Run(entry.previous, seen)
        run.last = entry.id
        # As it would come from the log.
        entry = entry._replace(previous=b"")
        run.entries.append(entry)
        self._order.append((channel, run, entry))
        self._size += len(entry.body) + _OVERHEAD

    def _drop_oldest(self) -> None:
        channel, run, entry = self._order.popleft()
        self._size -= len(entry.body) + _OVERHEAD
        if self._runs.get(channel) is not run or not run.entries or run.entries[0] is not entry:
            return  # a run that is over
        run.start = run.entries.popleft().id
        if not run.entries:
            del self._runs[channel]
