"""Disconnects: errors that end a connection. The close code says whether the client reconnects.

After 4000-4499 it reconnects, after 4500-4999 it does not. Codes below 4000 are those of RFC 6455 section 7.4.1.
"""

from typing import ClassVar


class Disconnect(Exception):
    """The root of all disconnects.

    Every disconnect has a docstring, which says what happened, and a `remedy`, which says what clients do. The reason
    fits into a close frame: at most 123 bytes.
    """

    close_code: ClassVar[int]
    reason: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, reason: str = "") -> None:
        self.text = reason or self.reason
        super().__init__(self.text)


class BrokenFraming(Disconnect):
    """The bytes are not valid WebSocket frames."""

    close_code, reason = 1002, "broken framing"
    remedy = "Does not reconnect: its WebSocket library is faulty."


class NotUtf8(Disconnect):
    """A text message or a close reason is not UTF-8."""

    close_code, reason = 1007, "not UTF-8"
    remedy = "Does not reconnect."


class MessageTooBig(Disconnect):
    """A message is longer than `NOTIFIER_MAX_MESSAGE_BYTES`, or has more than 64 fragments."""

    close_code, reason = 1009, "message too big"
    remedy = "Does not reconnect."


class UnexpectedFault(Disconnect):
    """The service failed unexpectedly; its log contains the cause."""

    close_code, reason = 1011, "internal error"
    remedy = "Reconnects."


class Restarting(Disconnect):
    """The worker is draining: it closes all connections before it stops."""

    close_code, reason = 1012, "service restarts"
    remedy = "Reconnects after the delay in `drain`, or after a short delay if there was no `drain`."


class HeartbeatLost(Disconnect):
    """The service received nothing from the client for a whole `NOTIFIER_HEARTBEAT` interval."""

    close_code, reason = 4000, "heartbeat lost"
    remedy = "Reconnects."


class TokenRefused(Disconnect):
    """The token is missing, invalid, expired or revoked."""

    close_code, reason = 4001, "token expired or invalid"
    remedy = "Fetches a new token and reconnects."


class TokenRevoked(TokenRefused):
    """The token was revoked while it was in use. Clients handle it like any other token that is rejected."""

    reason = "token revoked"


class TooSlow(Disconnect):
    """The client did not read for `NOTIFIER_LAG_TIMEOUT`."""

    close_code, reason = 4002, "too slow"
    remedy = "Reconnects and resumes."


class HelloTimeout(Disconnect):
    """The first frame did not arrive within `NOTIFIER_HELLO_TIMEOUT`, which is shorter while few places are free."""

    close_code, reason = 4003, "no hello in time"
    remedy = "Reconnects."


class Overloaded(Disconnect):
    """The worker is overloaded or full, cannot reach Redis, or lacks the token issuer's keys."""

    close_code, reason = 4004, "overloaded"
    remedy = "Reconnects after a longer delay."


class RateExceeded(Disconnect):
    """The user has exceeded a limit on frames, streams or replays, or the IP address sent too many invalid tokens."""

    close_code, reason = 4005, "rate limited"
    remedy = "Reconnects after a longer delay."


class ProtocolViolation(Disconnect):
    """A message is binary or not a JSON object; or `hello` is invalid, not first, sent twice, or sent after 8 pings."""

    close_code, reason = 4500, "protocol violation"
    remedy = "Does not reconnect: the client is faulty."


class StreamForbidden(Disconnect):
    """The tokens in the request and in `hello` belong to different users."""

    close_code, reason = 4501, "forbidden"
    remedy = "Does not reconnect."


class Disconnected(Disconnect):
    """The user was disconnected or erased."""

    close_code, reason = 4502, "disconnected"
    remedy = "Does not reconnect."
