"""The errors of a client, as one tree.

NotifierError
|-- ConfigurationError   the URL, API key or token is missing or wrong
|-- ProblemError         the service rejected a request, and says why
|-- Unreachable          there was no answer before the deadline
|-- NotNotifier          something else answers at this URL, for example a proxy
|-- VersionError         the versions of the service and of this client are incompatible
|   |-- TooOld           the service is older than this client needs
|   `-- TooNew           the service is newer than this client supports
`-- StreamClosed         the service ended a stream, and the client must not reconnect
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class NotifierError(Exception):
    """The root of all errors of the client."""


class Fault(NamedTuple):
    """One fault of a request: a JSON pointer to it, a stable code, a sentence for people."""

    pointer: str
    code: str
    detail: str


class ConfigurationError(NotifierError, ValueError):
    """An argument or variable of the client is wrong, or `missing`, which then is the argument's name."""

    def __init__(self, text: str, missing: str = "") -> None:
        super().__init__(text)
        self.missing = missing


class ProblemError(NotifierError):
    """The service rejected a request: docs/errors.md lists the codes.

    `faults` say what is wrong in the body, `request_id` identifies the request in the log of the service,
    `retry_after` is in seconds, and `document` is the whole problem as received.
    """

    def __init__(self, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.document = dict(document)
        self.code = str(document.get("code", ""))
        self.status = int(document.get("status", 0))
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.faults = [_fault(item) for item in document.get("errors", ())]
        self.request_id = str(document.get("request_id", ""))
        self.retry_after = _number(document.get("retry_after")) if retry_after is None else retry_after
        super().__init__(self._text())

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later. A client retries such requests until its deadline."""
        return self.status in (408, 429, 502, 503, 504) or self.code in ("idempotency_in_flight", "incomplete_body")

    @property
    def pointers(self) -> list[str]:
        """JSON pointers to the faults in the body."""
        return [fault.pointer for fault in self.faults]

    def _text(self) -> str:
        faults = "; ".join(f"{fault.pointer or 'the request'}: {fault.detail}" for fault in self.faults)
        what = " ".join(part for part in (self.detail or self.title, faults) if part)
        return f"{self.status} {self.code}: {what}"


class Unreachable(NotifierError):
    """There was no answer. `is_permanent`: a retry would not help, as with an untrusted certificate."""

    def __init__(self, text: str, is_permanent: bool = False) -> None:
        super().__init__(text)
        self.is_permanent = is_permanent

    def with_advice(self) -> "Unreachable":
        """Return the error with advice, for when there is no retry."""
        advice = "" if self.is_permanent else " Check the URL, and whether the service runs."
        return Unreachable(f"{self}.{advice}", self.is_permanent)


class NotNotifier(NotifierError):
    """The server at this URL is not Notifier."""


class VersionError(NotifierError):
    """The versions of the service and of this client are incompatible."""


class TooOld(VersionError):
    """The service is older than this client needs: update the service."""


class TooNew(VersionError):
    """The service is newer than this client supports: update the client."""


class StreamClosed(NotifierError):
    """The service ended the stream with a code that forbids to reconnect."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The service ended the stream permanently: {code} {reason}".rstrip() + ".")
        self.code = code
        self.reason = reason


def _fault(item: Mapping[str, Any]) -> Fault:
    return Fault(str(item.get("pointer", "")), str(item.get("code", "")), str(item.get("detail", "")))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
