"""A connection that records its frames."""

import json
from types import SimpleNamespace
from typing import Any

from notifier.errors import Disconnect


class RecordedConnection:
    """Replaces a stream connection of a user; `failure` is raised instead of recording a frame."""

    def __init__(self, user: str = "ada", *, is_open: bool = True, failure: Disconnect | None = None) -> None:
        self.session = SimpleNamespace(identity=SimpleNamespace(user=user))
        self.is_open = is_open
        self.is_disconnected = False
        self.is_held = False
        self.frames: list[dict[str, Any]] = []
        self.closed: Disconnect | None = None
        self._failure = failure

    def reply(self, frame: bytes) -> None:
        """Record a frame."""
        if self._failure:
            raise self._failure
        self.frames.append(json.loads(frame))

    def hold(self) -> None:
        """Note that the connection is not read."""
        self.is_held = True

    def release(self) -> None:
        """Note that it is read again."""
        self.is_held = False

    def close(self, disconnect: Disconnect) -> None:
        """Record why the connection is closed."""
        self.closed = disconnect
