"""Progress of a stream: its cursor, and the ids that it has received. A resumed stream repeats its last seconds."""

from notifier.client.errors import ConfigurationError
from notifier.client.events import Position
from notifier.protocol import cursor as cursors
from notifier.protocol.cursor import Cursor

_REMEMBERED_MS = 10_000  # a resumed stream repeats two seconds, or what NOTIFIER_REPLAY_OVERLAP says
_REMEMBERED, _MOST_REMEMBERED = 1000, 100_000  # ids: in a position, and in memory


class Progress:
    """The cursor of a stream, and the ids that it may receive again. `cursor` is None before the first one."""

    def __init__(self, since: Position | None) -> None:
        """Continue after a position.

        Raises:
            ConfigurationError: the position has no valid cursor.
        """
        self.cursor: Cursor | None = None
        self._seen: dict[str, int] = {}  # id -> ms of its cursor
        if since:
            self._resume(since)

    @property
    def position(self) -> Position | None:
        """Where to resume."""
        if self.cursor is None:
            return None
        oldest = self.cursor.ms - _REMEMBERED_MS
        seen = [id for id, ms in self._seen.items() if ms >= oldest]
        return Position(str(self.cursor), tuple(seen[-_REMEMBERED:]))

    def reach(self, text: str) -> None:
        """Move forward to a cursor, if it is later; empty: do nothing."""
        if text:
            reached = cursors.parse(text)
            self.cursor = max(self.cursor, reached) if self.cursor else reached

    def is_new(self, id: str, cursor: str) -> bool:
        """Record an id and its cursor, and return whether it is received for the first time."""
        self.reach(cursor)
        if id in self._seen:
            return False
        self._seen[id] = cursors.parse(cursor).ms
        self._forget()
        return True

    def _resume(self, position: Position) -> None:
        try:
            self.cursor = cursors.parse(position.cursor)
        except ValueError as error:
            raise ConfigurationError(f"since: {error}, and not {position.cursor!r}.") from error
        self._seen = dict.fromkeys(position.seen, self.cursor.ms)

    def _forget(self) -> None:
        """Forget the oldest ids, which cannot be received again."""
        assert self.cursor
        oldest = self.cursor.ms - _REMEMBERED_MS
        while len(self._seen) > _REMEMBERED:
            id = next(iter(self._seen))
            if self._seen[id] >= oldest and len(self._seen) <= _MOST_REMEMBERED:
                break
            del self._seen[id]
