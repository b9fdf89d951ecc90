"""Requests to the service, and its answers."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifier.client.errors import NotNotifier, ProblemError, TooNew, TooOld

LEAST_SERVICE = (0, 1)  # the oldest service that has all features of this client
NEWEST_MAJOR = 0  # a later major version may use the same fields for something else
JSON, NDJSON = "application/json", "application/x-ndjson"


class Request(NamedTuple):
    """One HTTP request. `path` is below the service's URL."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Channel(NamedTuple):
    """The cursor of a notification in one channel, and whether the channel had subscribers.

    `suppressed` says why it is stored, but neither pushed nor counted: "muted_type" if the user has muted its type.
    """

    channel: str
    cursor: str
    online: bool
    suppressed: str | None = None


class Published(NamedTuple):
    """A notification that the service has published.

    `replayed`: an earlier request with the same idempotency key had published it already.
    """

    id: str
    created_at: datetime
    channels: tuple[Channel, ...]
    replayed: bool = False


class Accepted(NamedTuple):
    """The id and cursor of a notification that a user has published to a topic."""

    id: str
    cursor: str


class Answer(NamedTuple):
    """An answer. The names of `headers` are in lower case; `url` is for messages."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (408, 429, 502, 503, 504) or (
            self.status == 409 and b"idempotency_in_flight" in self.body
        )

    @property
    def retry_after(self) -> float | None:
        """How long the service asks to wait, in seconds."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else None

    def checked(self) -> "Answer":
        """Return the answer if it is a success.

        Raises:
            NotNotifier, TooOld, TooNew, ProblemError
        """
        self.check_sender()
        if self.status < 300:
            return self
        raise self.checked_problem()

    def checked_problem(self) -> ProblemError:
        """Return the problem that the service answers with.

        Raises:
            NotNotifier, TooOld, TooNew: the answer is from another server, or an incompatible version.
        """
        self.check_sender()
        return ProblemError(self._object(), self.retry_after)

    def check_sender(self) -> None:
        """Reject an answer that is not from a compatible Notifier.

        Raises:
            NotNotifier, TooOld, TooNew
        """
        version = self.headers.get("notifier-version")
        if version is None:
            raise NotNotifier(self._stranger())
        check_version(self.url, version)

    def too_old(self, part: str) -> TooOld:
        """Return the error for a service that does not have a part yet."""
        version = self.headers.get("notifier-version", "")
        return TooOld(f"{self.url} runs Notifier {version}, which has no {part} yet. Update the service.")

    def json(self) -> Any:
        """Return the body.

        Raises:
            NotNotifier: it is not JSON, so it was changed on its way.
        """
        try:
            return _decode(self.body)
        except (ValueError, RecursionError) as error:
            raise NotNotifier(f"The answer of {self.url} was cut off or changed on its way: {error}.") from error

    def _object(self) -> dict[str, Any]:
        document = self.json()
        if not isinstance(document, dict):
            raise NotNotifier(f"The answer of {self.url} is not a JSON object.")
        return document

    def published(self) -> Published:
        """Return the result of publishing a single notification."""
        replayed = self.headers.get("idempotency-replayed") == "true"
        return _published(self._object() | {"replayed": replayed})

    def lines(self) -> dict[int, Published | ProblemError]:
        """Return the results of the lines of a batch, by their numbers."""
        documents = [self._replace_body(line).json() for line in self.body.splitlines()]
        return {document.pop("line"): _result(document) for document in documents}

    def _replace_body(self, body: bytes) -> "Answer":
        return self._replace(body=body)

    def _stranger(self) -> str:
        kind = self.headers.get("content-type", "").partition(";")[0] or "no content type"
        target = self.headers.get("location")
        if 300 <= self.status < 400 and target:
            return f"{self.url} redirects to {target}: give the URL of the service itself."
        stranger = f"{self.url} answers {self.status} ({kind}), but it is not Notifier"
        if self.status == 426:
            return f"{stranger}: configure its proxy to forward upgrades."
        if self.status in (502, 503, 504):
            return f"{stranger}: is the service running behind this proxy?"
        return f"{stranger}: check the URL."


def check_version(url: str, version: str) -> None:
    """Reject a service whose version is incompatible.

    Raises:
        TooOld, TooNew
    """
    major, minor = (int(part) if part.isdecimal() else 0 for part in (version.split(".") + ["0"])[:2])
    if (major, minor) < LEAST_SERVICE:
        least = ".".join(map(str, LEAST_SERVICE))
        raise TooOld(f"{url} runs Notifier {version}, which is too old: this client needs {least}. Update the service.")
    if major > NEWEST_MAJOR:
        newest = f"{NEWEST_MAJOR}.x"
        raise TooNew(
            f"{url} runs Notifier {version}, which is too new: this client supports {newest}. Update the client."
        )


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:  # also for whole numbers of more than 4,300 digits
        return json.loads(body, parse_int=_whole_number)


def _whole_number(digits: str) -> int | str:
    """Return a whole number, or its digits if Python refuses to convert so many."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _result(document: dict[str, Any]) -> Published | ProblemError:
    return _published(document) if document.get("status") == 201 else ProblemError(document)


def _published(document: dict[str, Any]) -> Published:
    return Published(
        document["id"],
        datetime.fromisoformat(document["created_at"]),
        tuple(_channel(item) for item in document["channels"]),
        document.get("replayed", False),
    )


def _channel(document: dict[str, Any]) -> Channel:
    return Channel(document["channel"], document["cursor"], document["online"], document.get("suppressed"))
