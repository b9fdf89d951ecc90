"""Notifications: what a publisher may post, and what recipients receive.

A notification is decoded once, to check it, and never encoded again: its fields are passed on as the bytes that
arrived, from the request through Redis to the sockets.
"""

import functools
import itertools
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Raw

from notifier.errors import BodyTooLarge, InvalidNotification, MalformedJson
from notifier.protocol import channel, json_shape, json_text, notification_id
from notifier.protocol import tenant as tenants
from notifier.protocol.faults import Faults
from notifier.protocol.notification_fields import MOST_FIELDS, SENT, FieldReader, decode_object


class Limits(NamedTuple):
    """The limits of one publication: its size in bytes, and how many users and topics it may name."""

    size: int = 65536
    users: int = 1000
    topics: int = 100


class Publication(NamedTuple):
    """A notification to publish.

    `channels` are the channels that it is appended to, each once. `fields` are the fields that recipients receive, as
    JSON without the braces. `ttl` is in seconds. `collapse_key` is distinct for each user who publishes, and for all
    backends together, so that no user replaces what somebody else has published.
    """

    channels: list[str]
    fields: bytes
    retain: str = "inbox"
    ttl: int | None = None
    collapse_key: str = ""
    type: str = ""

    def scoped(self, tenant: str) -> "Publication":
        """Return the publication to the recipients of a tenant."""
        if not tenant:
            return self
        return self._replace(channels=[tenants.scoped_channel(tenant, name) for name in self.channels])

    def encode(self, id: str, created: float) -> bytes:
        """Return the JSON that recipients receive, for an id and a time of creation in Unix seconds.

        It begins with the id, so that the recall script finds it in a log without decoding JSON.
        """
        expires = b""
        if self.ttl is not None:
            expires = b',"expires_at":"%b"' % rfc3339(created + self.ttl).encode()
        head = b'{"id":"%b","created_at":"%b"' % (id.encode(), rfc3339(created).encode())
        return b"".join((head, self.fields, expires, b"}"))


def parse(body: bytes, limits: Limits) -> Publication:
    """Return the publication that a JSON object describes.

    Raises:
        BodyTooLarge: the body is longer than the limit.
        MalformedJson: the body is not a JSON object in UTF-8.
        InvalidNotification: fields are wrong; every fault has a JSON pointer.
    """
    fields = _fields(body, limits)
    reader = FieldReader(Faults(InvalidNotification), limits.users, limits.topics)
    if "to" not in fields:
        reader.fault("required", "Name the recipients.", "to")
    return _publication(fields, reader)


def parse_to_topic(topic: str, body: bytes, sender: str, limits: Limits) -> Publication:
    """Return the publication that a user posts to a topic. `sender` is the user of the token.

    Unless it says otherwise, it is stored in the history only: messages between users do not belong into inboxes.

    Raises:
        BodyTooLarge, MalformedJson, InvalidNotification: see `parse`.
    """
    fields = _fields(body, limits)
    reader = FieldReader(Faults(InvalidNotification), limits.users, limits.topics)
    if fields.pop("to", None) is not None:
        reader.fault("unknown_field", "The frame names the topic.", "to")
    publication = _publication({"retain": _HISTORY} | fields, reader)
    return publication._replace(
        channels=[channel.of_topic(topic)],
        collapse_key=publication.collapse_key and f"{_OF_USER}{sender}{_OF_USER}{publication.collapse_key}",
        fields=publication.fields + b',"sender":' + msgspec.json.encode(sender),
    )


def _publication(fields: dict[str, Raw], reader: FieldReader) -> Publication:
    values = {name: reader.read(name, raw) for name, raw in itertools.islice(fields.items(), MOST_FIELDS)}
    if _VISIBLE.isdisjoint(fields):
        reader.fault("required", "Give it a type, a title, a body or data.")
    reader.faults.check()
    sent: list[bytes | Raw] = []
    for name, raw in fields.items():
        if name in SENT:
            sent += SENT[name], values[name] if name == "data" else raw
    if "severity" not in fields:
        sent.append(b',"severity":"info"')
    return Publication(
        values.get("to", []),
        b"".join(sent),
        values.get("retain", "inbox"),
        values.get("ttl"),
        _of_backend(values.get("collapse_key", "")),
        values.get("type", ""),
    )


def new_id(ms: int, random: bytes) -> str:
    """Return a UUID version 7 (RFC 9562 section 5.7) of a time in milliseconds and 10 random bytes.

    Every entry of the notification has an id time of at least `ms`, so it is found in a log without an index.
    """
    digits = random.hex()
    variant = "89ab"[random[2] & 3]
    return f"{_time_digits(ms)}-7{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"


@functools.lru_cache(maxsize=1)  # a batch has one time
def _time_digits(ms: int) -> str:
    digits = f"{ms & 0xFFFFFFFFFFFF:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def id_of(body: bytes) -> str:
    """Return the id in the JSON that recipients receive."""
    return body[7:43].decode()


def type_of(body: bytes) -> str:
    """Return the type in the JSON that recipients receive; empty: it has none."""
    return _decode_type(body).type if b'"type":' in body else ""


def time_of(id: str) -> int | None:
    """Return the time in a notification's id, in milliseconds, or None if it is not such an id."""
    found = notification_id.FORM.match(id)
    return int(found[1] + found[2], 16) if found else None


@functools.lru_cache(maxsize=64)  # a batch has one time of creation
def rfc3339(time: float) -> str:
    """Return a time in Unix seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Begins a collapse key of a user, whose name follows. A key of a backend that begins so gets another one, and is then
# the key of no user: names have no control characters.
_OF_USER = "\x1f"
_VISIBLE = {"type", "title", "body", "data"}
_HISTORY = Raw(b'"history"')


def _of_backend(collapse_key: str) -> str:
    return _OF_USER + collapse_key if collapse_key.startswith(_OF_USER) else collapse_key


class _Typed(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_Typed).decode


def _fields(body: bytes, limits: Limits) -> dict[str, Raw]:
    if len(body) > limits.size:
        raise BodyTooLarge(f"A notification has at most {limits.size} bytes, this one has {len(body)}.")
    if not body.startswith(b'{"'):
        body = json_text.utf8_of(body)
    json_text.require_flat(body, json_shape.MAX_DEPTH + 1, InvalidNotification)
    try:
        # Fields are passed on as they arrived: the decoder does not check that their strings are UTF-8.
        body.isascii() or body.decode()
        return decode_object(body)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"Byte {error.start} is not UTF-8.") from error
    except msgspec.DecodeError as error:
        raise MalformedJson(json_text.reason(body, error)) from error
