"""Every error that a caller can meet, as one tree.

    NotifierError
    |-- Problem       answers one request or one frame; the connection lives
    `-- Disconnect    ends a connection; the close code says what to do

A `Problem` becomes `application/problem+json` (RFC 9457) over HTTP and an `error` frame on the stream. Close codes
4000-4499 mean "come back", 4500-4999 "stay away"; those below 4000 are RFC 6455 section 7.4.1. `docs/errors.md` lists
all of them, and a test compares the two.
"""

from typing import Any, ClassVar, NamedTuple


class NotifierError(Exception):
    """The root of all errors that are part of the contract."""


class Fault(NamedTuple):
    """One thing that is wrong in a request's body.

    `pointer` is an RFC 6901 JSON pointer to it, `code` is stable, `detail` is for people.
    """

    pointer: str
    code: str
    detail: str


class Problem(NotifierError):
    """One request failed.

    `detail` is a sentence for people, `faults` are what is wrong where, `retry_after` is in seconds, `headers` go
    out with the answer, and `members` are further members of the problem.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        faults: list[Fault] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.faults = faults or []
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        self.members = members

    def document(self, request_id: str = "") -> dict[str, Any]:
        """Return the problem as the JSON object that goes out."""
        document: dict[str, Any] = {
            "type": f"/docs/errors#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.retry_after is not None:
            document["retry_after"] = self.retry_after
        if self.faults:
            document["errors"] = [fault._asdict() for fault in self.faults]
        if request_id:
            document["request_id"] = request_id
        return document | self.members


class BadRequest(Problem):
    """The request cannot be understood as HTTP."""

    status, code, title = 400, "bad_request", "The request cannot be understood."


class MalformedJson(Problem):
    """The body is not JSON, not UTF-8, or not an object."""

    status, code, title = 400, "malformed_json", "The body is not a JSON object."


class IncompleteBody(Problem):
    """The body ended before its announced length."""

    status, code, title = 400, "incomplete_body", "The body was cut off."


class InvalidApiKey(Problem):
    """No API key was given, or one that the service does not know."""

    status, code, title = 401, "invalid_api_key", "A valid API key is needed."


class InvalidToken(Problem):
    """The token is no JWT, is signed by somebody else, or lacks a claim."""

    status, code, title = 401, "invalid_token", "The token is not valid."


class TokenExpired(Problem):
    """The token was valid once."""

    status, code, title = 401, "token_expired", "The token has expired."


class Forbidden(Problem):
    """The key or token is good, but does not grant this."""

    status, code, title = 403, "forbidden", "This is not granted."


class ForeignOrigin(Problem):
    """A cookie came from a page of an origin that is not allowed."""

    status, code, title = 403, "foreign_origin", "Pages of this origin may not use the cookie."


class NotFound(Problem):
    """There is no such thing."""

    status, code, title = 404, "not_found", "There is nothing here."


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    status, code, title = 405, "method_not_allowed", "The path does not know this method."


class IdempotencyInFlight(Problem):
    """A request with the same idempotency key has not been answered yet."""

    status, code, title = 409, "idempotency_in_flight", "The first request with this key is still running."


class PreconditionFailed(Problem):
    """The request is made dependent on a state that is not the present one (RFC 9110 section 15.5.13)."""

    status, code, title = 412, "precondition_failed", "It is not what the request expects it to be."


class BodyTooLarge(Problem):
    """The body, or one line of it, is longer than the limit."""

    status, code, title = 413, "body_too_large", "The body is too large."


class UnsupportedMediaType(Problem):
    """The body is neither JSON nor newline-delimited JSON."""

    status, code, title = 415, "unsupported_media_type", "The body must be JSON."


class InvalidNotification(Problem):
    """The notification breaks a rule; `errors` says which and where."""

    status, code, title = 422, "invalid_notification", "The notification is not valid."


class InvalidIdempotencyKey(Problem):
    """The idempotency key is empty or too long."""

    status, code, title = 422, "invalid_idempotency_key", "The idempotency key is not valid."


class IdempotencyMismatch(Problem):
    """The idempotency key was used before with another body."""

    status, code, title = 422, "idempotency_mismatch", "The key was used before, with another body."


class InvalidFrame(Problem):
    """A frame of a client has an unknown type or a wrong member."""

    status, code, title = 422, "invalid_frame", "The frame is not valid."


class InvalidInboxAction(Problem):
    """What is asked of the inbox breaks a rule; `errors` says which and where."""

    status, code, title = 422, "invalid_inbox_action", "The inbox cannot do this."


class InvalidMembers(Problem):
    """The members of a topic cannot be changed like this; `errors` says why."""

    status, code, title = 422, "invalid_members", "The members cannot be changed like this."


class TooManyMemberships(Problem):
    """The user is a member of as many topics as may be."""

    status, code, title = 422, "too_many_memberships", "The user is a member of too many topics."


class TooManySubscriptions(Problem):
    """The connection has as many topics as it may have."""

    status, code, title = 422, "too_many_subscriptions", "The connection has too many topics."


class UpgradeRequired(Problem):
    """The path speaks WebSocket, the request did not ask for it."""

    status, code, title = 426, "upgrade_required", "This path needs a WebSocket upgrade."


class RateLimited(Problem):
    """A client publishes more often than it may."""

    status, code, title = 429, "rate_limited", "That was too often."


class InternalError(Problem):
    """A fault of the service; the log has the trace under the request id."""

    status, code, title = 500, "internal_error", "The service made a mistake."


class TooManyConnections(Problem):
    """This worker holds as many connections as it may."""

    status, code, title = 503, "too_many_connections", "The service is full."


class BrokerUnavailable(Problem):
    """Redis cannot be reached or did not answer in time."""

    status, code, title = 503, "broker_unavailable", "The broker is out of reach."


class Disconnect(NotifierError):
    """A connection ends. The reason fits into a close frame: 123 bytes."""

    close_code: ClassVar[int]
    reason: ClassVar[str]

    def __init__(self, reason: str = "") -> None:
        self.text = reason or self.reason
        super().__init__(self.text)


class BrokenFraming(Disconnect):
    """The bytes are no WebSocket frames (RFC 6455 section 5)."""

    close_code, reason = 1002, "broken framing"


class NotUtf8(Disconnect):
    """A text message, or the reason of a close frame, is not UTF-8."""

    close_code, reason = 1007, "not UTF-8"


class MessageTooBig(Disconnect):
    """A message is longer than the limit."""

    close_code, reason = 1009, "message too big"


class UnexpectedFault(Disconnect):
    """A fault of the service."""

    close_code, reason = 1011, "internal error"


class Restarting(Disconnect):
    """The worker drains."""

    close_code, reason = 1012, "service restarts"


class HeartbeatLost(Disconnect):
    """Nothing was heard from the client for a whole interval."""

    close_code, reason = 4000, "heartbeat lost"


class TokenRefused(Disconnect):
    """The token has expired or is not valid: the client fetches a new one."""

    close_code, reason = 4001, "token expired or invalid"


class TooSlow(Disconnect):
    """The client did not read for too long."""

    close_code, reason = 4002, "too slow"


class HelloTimeout(Disconnect):
    """The first frame did not come in time."""

    close_code, reason = 4003, "no hello in time"


class Overloaded(Disconnect):
    """The connection cannot be served now."""

    close_code, reason = 4004, "overloaded"


class ProtocolViolation(Disconnect):
    """What came is no frame of the protocol, or not one that may come now."""

    close_code, reason = 4500, "protocol violation"


class StreamForbidden(Disconnect):
    """The hello has another user's token than the request had."""

    close_code, reason = 4501, "forbidden"


class Disconnected(Disconnect):
    """An operator or the backend has disconnected the user, or erased them."""

    close_code, reason = 4502, "disconnected"
