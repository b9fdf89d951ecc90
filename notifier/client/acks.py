"""Acknowledgements of received notifications, which the service turns into receipts."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from notifier.protocol.cursor import Cursor

_TOGETHER = 1.0  # seconds: notifications emitted within this time share an acknowledgement


@dataclass
class Acks:
    """The notifications that were emitted to the caller and must be acknowledged."""

    clock: Callable[[], float]
    _is_accepted: bool = field(default=False, init=False)
    _since: Cursor | None = field(default=None, init=False)
    _from: Cursor | None = field(default=None, init=False)  # where the last acknowledgement began
    _due: float | None = field(default=None, init=False)

    def connect(self) -> None:
        """Begin a connection: before its welcome, nothing is acknowledged."""
        self._is_accepted = False
        # The last acknowledgement may have been lost with the connection before.
        self._since = self._from or self._since

    def welcome(self, cursor: Cursor | None, is_accepted: bool) -> None:
        """Begin to acknowledge notifications after a cursor, if the service accepts acknowledgements."""
        self._is_accepted = is_accepted
        self._since = self._since or cursor

    def emit(self) -> None:
        """Record that a notification is about to be emitted to the caller."""
        if self._is_accepted and self._due is None:
            self._due = self.clock() + _TOGETHER

    @property
    def patience(self) -> float | None:
        """In how many seconds the next acknowledgement is due; None: there is none, or it cannot be sent yet."""
        return self._due - self.clock() if self._is_accepted and self._due is not None else None

    def take(self, cursor: Cursor | None) -> str | None:
        """Return the frame that acknowledges everything up to a cursor, if one is due or will be."""
        if self.patience is None:
            return None
        frame = {"type": "ack", "cursor": str(cursor), "since": str(self._since)}
        self._from, self._since, self._due = self._since, cursor, None
        return json.dumps(frame)
