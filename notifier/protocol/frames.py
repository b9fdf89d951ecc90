"""Frames: the JSON objects of the stream, as `docs/protocol.md` describes them."""

import re
from typing import Any, Protocol

import msgspec

from notifier.errors import Disconnect, InvalidFrame, Problem, ProtocolViolation
from notifier.protocol import cursor, json_shape
from notifier.protocol import tenant as tenants
from notifier.protocol.cursor import Cursor

MAX_REF = 64  # characters
# JSON can write half a pair, UTF-8 cannot, and the decoder does not skip it.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MAX_DEPTH = json_shape.MAX_DEPTH + 2  # a notification of a `publish` frame, with its data


class _ClientFrame(msgspec.Struct, tag_field="type", tag=str.lower, frozen=True):
    """Unknown fields are ignored, so that a newer client can use an older service."""

    ref: str | None = None


class Hello(_ClientFrame, frozen=True):
    """The first frame of a connection."""

    token: str | None = None
    since: str | None = None
    topics: tuple[str, ...] = ()


class Subscribe(_ClientFrame, kw_only=True, frozen=True):
    """Subscribe to a topic, and replay it from `since`."""

    topic: str
    since: str | None = None


class Unsubscribe(_ClientFrame, kw_only=True, frozen=True):
    """Unsubscribe from a topic."""

    topic: str


class Auth(_ClientFrame, kw_only=True, frozen=True):
    """Replace the token."""

    token: str


class Publish(_ClientFrame, kw_only=True, frozen=True):
    """Publish a notification to a topic."""

    topic: str
    notification: msgspec.Raw
    echo: bool = True
    idempotency_key: str | None = None


class _Action(_ClientFrame, kw_only=True, frozen=True):
    """Run an action on items of the inbox: those with these ids, or all up to a cursor."""

    ids: tuple[str, ...] | None = None
    up_to: str | None = None


class Seen(_Action, frozen=True):
    """Mark items as seen."""


class Read(_Action, frozen=True):
    """Mark items as read."""


class Unread(_Action, frozen=True):
    """Mark items as unread."""


class Archive(_Action, frozen=True):
    """Archive items."""


class Unarchive(_Action, frozen=True):
    """Return items from the archive."""


class Ack(_ClientFrame, kw_only=True, frozen=True):
    """Acknowledge what follows `since` up to a cursor, or only the entry at the cursor."""

    cursor: str
    since: str | None = None


class Inbox(Protocol):
    """An inbox, as frames describe it."""

    @property
    def summary(self) -> dict[str, Any]:
        """Return the `counts`, `revision` and `expires_at` fields."""

    @property
    def memberships(self) -> list[str]:
        """Return the topics that the user is a member of, as the tenant knows them."""


InboxFrame = Seen | Read | Unread | Archive | Unarchive
ClientFrame = Hello | Subscribe | Unsubscribe | Auth | Publish | InboxFrame | Ack


class _Ref(msgspec.Struct):
    """The ref of a frame; its other fields are skipped."""

    ref: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(ClientFrame).decode
_decode_ref = msgspec.json.Decoder(_Ref).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def decode(text: str) -> ClientFrame:
    """Return the frame that a client sent.

    Raises:
        ProtocolViolation: the text is not a JSON object.
        InvalidFrame: the object has an unknown type or an invalid field; the problem has the frame's `ref`.
    """
    if text.count("{") + text.count("[") > _MAX_DEPTH and json_shape.is_deep(text.encode(), _MAX_DEPTH):
        if not text.lstrip().startswith("{"):
            raise ProtocolViolation("not a JSON object")
        raise InvalidFrame(f"A frame has at most {_MAX_DEPTH} levels of arrays and objects.", ref=_ref_of_deep(text))
    try:
        frame: ClientFrame = _decode(text)
    except msgspec.DecodeError as error:
        raise InvalidFrame(str(error), ref=_ref_of(text)) from error
    if frame.ref is not None and len(frame.ref) > MAX_REF:
        raise InvalidFrame(f"A ref has at most {MAX_REF} characters.", ref=None)
    return frame


def decode_cursor(text: str | None, ref: str | None = None, name: str = "since") -> Cursor | None:
    """Return the cursor in a frame's `name` field.

    Raises:
        InvalidFrame: the value is not a cursor.
    """
    try:
        return None if text is None else cursor.parse(text)
    except ValueError as error:
        raise InvalidFrame(f"{name}: {error}.", ref=ref) from error


def welcome(
    connection: str,
    user: str,
    topics: tuple[str, ...],
    cursor: Cursor,
    heartbeat: int,
    lost: list[str],
    inbox: Inbox,
) -> bytes:
    """Return the answer to a hello. `heartbeat` is in seconds."""
    return _encode(
        {
            "type": "welcome",
            "connection": connection,
            "user": tenants.outward(user),
            "topics": list(map(tenants.outward, topics)),
            "cursor": str(cursor),
            "heartbeat": heartbeat,
            "lost": list(map(tenants.public, lost)),
            "memberships": inbox.memberships,
            **inbox.summary,
        }
    )


def notification(channel: str, id: bytes, body: bytes, replay: bool) -> bytes:
    """Return the frame of a notification. `body` is its JSON, which is copied unchanged."""
    return b"".join(
        (
            b'{"type":"notification","cursor":"',
            id,
            b'","channel":',
            _encode(tenants.public(channel)),
            b',"notification":',
            body,
            b',"replay":true}' if replay else b"}",
        )
    )


def removed(channel: str, id: bytes, notification: bytes) -> bytes:
    """Return the frame that removes a notification."""
    removal = {"cursor": id.decode(), "channel": tenants.public(channel), "id": notification.decode()}
    return _encode({"type": "removed"} | removal)


def state(inbox: Inbox, changes: list[Any], *, memberships: bool) -> bytes:
    """Return the frame with the state of the inbox, its changes, and the memberships if they may have changed."""
    frame: dict[str, Any] = {"type": "state", **inbox.summary}
    if changes:
        frame["changes"] = changes
    if memberships:
        frame["memberships"] = inbox.memberships
    return _encode(frame)


def changed(ref: str | None, inbox: Inbox, changed: bool, unknown: list[str]) -> bytes:
    """Return the answer to an action on the inbox."""
    return _encode(_with_ref("ok", ref) | inbox.summary | {"changed": changed, "unknown": unknown})


def lost(names: list[str]) -> bytes:
    """Return the frame that reports channels with entries that cannot be replayed any more."""
    return _encode({"type": "lost", "channels": list(map(tenants.public, names))})


def ok(ref: str | None, topics: tuple[str, ...]) -> bytes:
    """Return the answer to a frame that was carried out."""
    return _encode(_with_ref("ok", ref) | {"topics": list(map(tenants.outward, topics))})


def published(ref: str | None, id: str, cursor: str) -> bytes:
    """Return the answer to a publication."""
    return _encode(_with_ref("ok", ref) | {"id": id, "cursor": cursor})


def error(problem: Problem, ref: str | None = None) -> bytes:
    """Return the answer to a frame that failed. If the problem has a `ref`, it replaces the given one."""
    document = problem.document()
    return _encode(_with_ref("error", document.pop("ref", ref)) | {"problem": document})


def expiring(seconds: int) -> bytes:
    """Return the frame that asks for a new token."""
    return _encode({"type": "expiring", "in": seconds})


def drain(retry_after_ms: int) -> bytes:
    """Return the frame that announces the end of the connection, and when to reconnect."""
    return _encode({"type": "drain", "retry_after_ms": retry_after_ms})


def close(disconnect: Disconnect) -> bytes:
    """Return the last frame on transports without close codes."""
    return _encode({"type": "close", "code": disconnect.close_code, "reason": disconnect.text})


def ping(cursor: Cursor | None) -> bytes:
    """Return a ping, with the cursor up to which everything has been sent, if there is one."""
    return _encode({"type": "ping"} if cursor is None else {"type": "ping", "cursor": str(cursor)})


def _with_ref(type: str, ref: str | None) -> dict[str, Any]:
    return {"type": type} if ref is None else {"type": type, "ref": ref}


def _ref_of(text: str) -> str | None:
    """Return the ref of an invalid frame, so that its sender knows which frame failed."""
    try:
        return _read_ref(_decode_ref(text).ref)
    except msgspec.ValidationError as error:
        raise ProtocolViolation("not a JSON object") from error
    except msgspec.DecodeError as error:
        whole = _SURROGATE.sub(r"\\u0000", text)
        if whole == text:
            raise ProtocolViolation("not JSON") from error
    ref = _ref_of(whole)
    return None if ref is not None and "\0" in ref else ref


def _ref_of_deep(text: str) -> str | None:
    """Return the ref of a frame that is too deeply nested to be decoded."""
    written = json_shape.text_of(text, "ref")
    return _read_ref(written.encode()) if written else None


def _read_ref(written: bytes | msgspec.Raw) -> str | None:
    try:
        ref = _decode_text(written)
    except msgspec.DecodeError:
        return None
    return ref if len(ref) <= MAX_REF else None
