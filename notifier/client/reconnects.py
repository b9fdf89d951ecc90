"""Reconnecting: how an attempt to connect ended, and how long to wait before the next one."""

from collections.abc import Callable

from notifier.client.answer import Answer
from notifier.client.errors import Unreachable
from notifier.client.outcomes import Closed

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds
_OVERLOADED = 3  # failures after which the pause is long enough for a full service

Ended = Closed | Unreachable | Answer | Exception


class Pauses:
    """Random pauses that double with each failure in a row, from 1 to 30 seconds at most."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """Begin with the shortest pause again: a connection was stable."""
        self._failures = 0

    def lengthen(self) -> None:
        """Wait as after several failures: the service is full."""
        self._failures = max(self._failures, _OVERLOADED)

    def next(self) -> float:
        """Return the pause after another failure, in seconds."""
        pause = self._random() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause


def reason(ended: object) -> str:
    """Return why an attempt ended, for the log."""
    match ended:
        case Closed(code, reason):
            return f"The stream ended ({code} {reason}".rstrip() + ")"
        case Answer():
            return f"{ended.url} answers {ended.status}"
    return str(ended)


def error_of(ended: Ended) -> Exception:
    """Return the error to raise when an attempt ended and no other follows."""
    if isinstance(ended, Answer):
        try:
            ended.checked()
        except Exception as error:
            return error
    failure = ended if isinstance(ended, Unreachable) else Unreachable(reason(ended))
    return failure.with_advice()
