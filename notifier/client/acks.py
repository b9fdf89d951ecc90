"""The client's word that notifications have come: the service makes receipts of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from notifier.protocol.cursor import Cursor

_TOGETHER = 1.0  # seconds: what is given on within them is acknowledged at once


@dataclass
class Acks:
    """What was given to the caller, and is still to be acknowledged."""

    clock: Callable[[], float]
    _is_heard: bool = field(default=False, init=False)
    _since: Cursor | None = field(default=None, init=False)
    _due: float | None = field(default=None, init=False)

    def connect(self) -> None:
        """Begin a connection: before its welcome, nothing is acknowledged."""
        self._is_heard = False

    def welcome(self, cursor: Cursor | None, is_heard: bool) -> None:
        """Begin to acknowledge what comes after a cursor, if the service hears such words."""
        self._is_heard = is_heard
        self._since = self._since or cursor

    def owe(self) -> None:
        """Note that something is about to be given to the caller."""
        if self._is_heard and self._due is None:
            self._due = self.clock() + _TOGETHER

    @property
    def patience(self) -> float | None:
        """In how many seconds the next one is due, if one is owed and can be sent."""
        return self._due - self.clock() if self._is_heard and self._due is not None else None

    def take(self, cursor: Cursor | None) -> str | None:
        """Return the frame that says that everything up to a cursor has come, if one is owed and can be sent."""
        if self.patience is None:
            return None
        frame = {"type": "ack", "cursor": str(cursor), "since": str(self._since)}
        self._since, self._due = cursor, None
        return json.dumps(frame)
