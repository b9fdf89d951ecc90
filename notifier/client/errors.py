"""What can go wrong for a client, as one tree.

NotifierError
|-- ConfigurationError   the client was given a wrong URL, key or token, or none
|-- ProblemError         the service refused, and says why
|-- Unreachable          no answer came before the deadline
|-- NotNotifier          something else answers at this URL, for example a proxy
|-- VersionError         the service and this client do not fit
|   |-- TooOld           the service is older than what this client needs
|   `-- TooNew           the service is newer than what this client knows
`-- StreamClosed         the service ended a stream and wants the client to stay away
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class NotifierError(Exception):
    """The root of all errors of the client."""


class Fault(NamedTuple):
    """One thing that is wrong with what was sent: a JSON pointer to it, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class ConfigurationError(NotifierError, ValueError):
    """The client cannot work with what it was given."""


class ProblemError(NotifierError):
    """The service refused a request: docs/errors.md lists the codes.

    `faults` are what is wrong with what was sent, `request_id` is what the service's log has it under, `retry_after`
    is in seconds, and `document` is the whole problem as it came.
    """

    def __init__(self, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.document = dict(document)
        self.code = str(document.get("code", ""))
        self.status = int(document.get("status", 0))
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.faults = [_fault(item) for item in document.get("errors", ())]
        self.request_id = str(document.get("request_id", ""))
        self.retry_after = retry_after
        super().__init__(self._text())

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may fare better later. A client says so only after its deadline."""
        return self.status in (408, 429, 502, 503, 504) or self.code in ("idempotency_in_flight", "incomplete_body")

    @property
    def pointers(self) -> list[str]:
        """JSON pointers to what is wrong with what was sent."""
        return [fault.pointer for fault in self.faults]

    def _text(self) -> str:
        faults = "; ".join(f"{fault.pointer or 'the request'}: {fault.detail}" for fault in self.faults)
        what = " ".join(part for part in (self.detail or self.title, faults) if part)
        return f"{self.status} {self.code}: {what}"


class Unreachable(NotifierError):
    """No answer came. `is_permanent` where another try would not help, as with an untrusted certificate."""

    def __init__(self, text: str, is_permanent: bool = False) -> None:
        super().__init__(text)
        self.is_permanent = is_permanent

    def with_advice(self) -> "Unreachable":
        """Return it as the last word, when there is no further try."""
        advice = "" if self.is_permanent else " Check the URL, and whether the service runs."
        return Unreachable(f"{self}.{advice}", self.is_permanent)


class NotNotifier(NotifierError):
    """What answers at this URL is no Notifier."""


class VersionError(NotifierError):
    """The service and this client do not fit."""


class TooOld(VersionError):
    """The service is older than what this client needs: update the service."""


class TooNew(VersionError):
    """The service is newer than what this client knows: update the client."""


class StreamClosed(NotifierError):
    """The service ended the stream with a code that means "stay away"."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The service ended the stream for good: {code} {reason}".rstrip() + ".")
        self.code = code
        self.reason = reason


def _fault(item: Mapping[str, Any]) -> Fault:
    return Fault(str(item.get("pointer", "")), str(item.get("code", "")), str(item.get("detail", "")))
