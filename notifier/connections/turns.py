"""Turns: clients that have sent more than is handled at once wait here, while everybody else is served."""

from collections import deque
from collections.abc import Callable
from typing import Any

from notifier.connections.transport import after_io


class Turns:
    """Gives one client after the other a turn, and looks at all sockets in between.

    All clients that flood a worker together delay others by one turn at each step.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def add(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function from the loop when it is its turn. It must not raise."""
        self._waiting.append((function, arguments))
        if len(self._waiting) == 1:
            after_io(self._run)

    def _run(self) -> None:
        function, arguments = self._waiting[0]
        try:
            function(*arguments)
        finally:
            self._waiting.popleft()
            if self._waiting:
                after_io(self._run)
