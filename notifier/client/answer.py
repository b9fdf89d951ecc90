"""Requests to the service, and how its answers are read."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifier.client.errors import NotNotifier, ProblemError, TooNew, TooOld

LEAST_SERVICE = (0, 1)  # the oldest service that has all this client asks for
NEWEST_MAJOR = 0  # a later major version may mean something else by the same words
JSON, NDJSON = "application/json", "application/x-ndjson"


class Request(NamedTuple):
    """One HTTP request. `path` is below the service's URL."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Channel(NamedTuple):
    """Where a notification stands in one channel, and whether anybody listened there.

    `suppressed` says why it is stored, but neither pushed nor counted: "muted_type" where its user has muted its type.
    """

    channel: str
    cursor: str
    online: bool
    suppressed: str | None = None


class Published(NamedTuple):
    """What the service says of a notification that it has taken.

    `replayed` where an earlier request with the same idempotency key had published it already.
    """

    id: str
    created_at: datetime
    channels: tuple[Channel, ...]
    replayed: bool = False


class Accepted(NamedTuple):
    """Where a notification stands that a user has published to a topic."""

    id: str
    cursor: str


class Answer(NamedTuple):
    """What came back. The names of `headers` are in small letters; `url` is for messages."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may fare better a little later."""
        return self.status in (408, 429, 502, 503, 504) or (
            self.status == 409 and b"idempotency_in_flight" in self.body
        )

    @property
    def retry_after(self) -> float | None:
        """How long the service wants us to wait, in seconds."""
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
        """Return why the service refuses.

        Raises:
            NotNotifier, TooOld, TooNew: it is not the service that does.
        """
        self.check_sender()
        return ProblemError(self._object(), self.retry_after)

    def check_sender(self) -> None:
        """Refuse what does not come from a Notifier that fits.

        Raises:
            NotNotifier, TooOld, TooNew
        """
        version = self.headers.get("notifier-version")
        if version is None:
            raise NotNotifier(self._stranger())
        check_version(self.url, version)

    def too_old(self, part: str) -> TooOld:
        """Return that the service has no such part yet."""
        version = self.headers.get("notifier-version", "")
        return TooOld(f"{self.url} runs Notifier {version}, which has no {part} yet. Update the service.")

    def json(self) -> Any:
        """Return the body.

        Raises:
            NotNotifier: it is no JSON, so something has changed it on its way.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise NotNotifier(f"The answer of {self.url} was cut off or changed on its way: {error}.") from error

    def _object(self) -> dict[str, Any]:
        document = self.json()
        if not isinstance(document, dict):
            raise NotNotifier(f"The answer of {self.url} is no JSON object.")
        return document

    def published(self) -> Published:
        """Return what became of a single notification."""
        replayed = self.headers.get("idempotency-replayed") == "true"
        return _published(self._object() | {"replayed": replayed})

    def lines(self) -> dict[int, Published | ProblemError]:
        """Return what became of the lines of a batch, by their numbers."""
        documents = [self._replace_body(line).json() for line in self.body.splitlines()]
        return {document.pop("line"): _result(document) for document in documents}

    def _replace_body(self, body: bytes) -> "Answer":
        return self._replace(body=body)

    def _stranger(self) -> str:
        kind = self.headers.get("content-type", "").partition(";")[0] or "nothing to read"
        target = self.headers.get("location")
        if 300 <= self.status < 400 and target:
            return f"{self.url} leads elsewhere, to {target}: give the URL of the service itself."
        if self.status == 426:
            return f"{self.url} answers 426, but not Notifier does: let the proxy before it pass upgrades on."
        if self.status in (502, 503, 504):
            return f"{self.url} answers {self.status} ({kind}), but not Notifier does: is it running behind its proxy?"
        return f"{self.url} answers {self.status} ({kind}), but it is not Notifier: check the URL."


def check_version(url: str, version: str) -> None:
    """Refuse a service whose version does not fit.

    Raises:
        TooOld, TooNew
    """
    major, minor = (int(part) if part.isdecimal() else 0 for part in (version.split(".") + ["0"])[:2])
    if (major, minor) < LEAST_SERVICE:
        least = ".".join(map(str, LEAST_SERVICE))
        raise TooOld(f"{url} runs Notifier {version}, which is too old: this client needs {least}. Update the service.")
    if major > NEWEST_MAJOR:
        raise TooNew(
            f"{url} runs Notifier {version}, which is too new: this client knows {NEWEST_MAJOR}.x. Update the client."
        )


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
