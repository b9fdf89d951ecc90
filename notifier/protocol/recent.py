"""Recent entries: the latest that a worker received. Clients that were offline briefly are served without Redis."""

from bisect import bisect_right
from collections import deque

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, REMOVED, Entry, Page

_LASTS = 60_000  # ms: no log removes entries younger than this because of their age
_OVERHEAD = 400  # bytes of an entry apart from its body
_PAGE = 200  # entries at once: a client that is far behind a busy channel must not hold up others
_REPLACES, _EXPIRES = b'"collapse_key":', b'"expires_at":'


class _Run:
    """Consecutive entries of one channel: all that its log has between `start` and `last`.

    `seen` is the last entry that was known of the log before. If a failover removed the end of the log, the run begins
    before `seen`: clients that have not received `seen` must be notified of the loss, so they are not served from here.

    Many runs have one entry. A list of one takes 90 bytes; a deque takes 770, and its blocks, larger than the small
    objects that Python packs together, would leave holes among the buffers of requests.
    """

    __slots__ = ("entries", "last", "seen", "start")

    def __init__(self, start: bytes, seen: bytes) -> None:
        self.start = self.last = start
        self.seen = seen
        self.entries: list[Entry] = []


class Recent:
    """The latest entries of all channels that a worker is subscribed to: at most `limit` bytes in total."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._runs: dict[str, _Run] = {}
        self._order: deque[tuple[str, _Run, Entry]] = deque()

    def receive(self, channel: str, entries: list[Entry], seen: bytes) -> None:
        """Add live entries of a channel, in order. `seen` is the last entry of its log that was known before them."""
        for entry in entries:
            if entry.kind != EPHEMERAL:
                self._take(channel, entry, seen)
        while self._size > self._limit:
            self._drop_oldest()

    def page(self, channel: str, position: Cursor, last: bytes, now: int) -> Page | None:
        """Return what the log of a channel has after a position and up to `last`, or None if only the log can tell.

        If it is much, the page is not complete.

        `now` is in Unix ms.
        """
        run = self._runs.get(channel)
        if run is None or run.last != last or position.ms < now - _LASTS:
            return None
        if position < cursor.parse(run.start) or position < cursor.parse(run.seen):
            return None
        first = bisect_right(run.entries, position, key=lambda entry: cursor.parse(entry.id))
        return Page(run.entries[first : first + _PAGE], first + _PAGE >= len(run.entries), BEGINNING)

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
            self._runs.pop(channel, None)  # the next entry begins a new run
            return
        run = self._runs.get(channel)
        # An entry that removes another from the log would have to remove it here, too. Instead, it begins a new run.
        if run is None or entry.previous != run.last or entry.kind == REMOVED or _REPLACES in entry.body:
            run = self._runs[channel] = _Run(entry.previous, seen)
        run.last = entry.id
        # As if it had been read from the log.
        entry = entry._replace(previous=b"")
        run.entries.append(entry)
        self._order.append((channel, run, entry))
        self._size += len(entry.body) + _OVERHEAD

    def _drop_oldest(self) -> None:
        channel, run, entry = self._order.popleft()
        self._size -= len(entry.body) + _OVERHEAD
        if self._runs.get(channel) is not run or not run.entries or run.entries[0] is not entry:
            return  # its run has been dropped
        run.start = run.entries.pop(0).id
        if not run.entries:
            del self._runs[channel]
