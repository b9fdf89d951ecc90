"""Notifications: what a publisher may post, and how it goes out.

A notification is decoded once, to check it, and never encoded again: the members go out as the bytes in which they
came, from the request over Redis to the sockets.
"""

import functools
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from notifier.errors import BodyTooLarge, Fault, InvalidNotification, MalformedJson
from notifier.protocol import channel, json_shape, urls

_MOST_FAULTS = 50  # a body that has more is not read by anybody
SEVERITIES = ("info", "success", "warning", "error", "critical")
RETAINS = ("inbox", "history", "none")
MAX_TTL = 365 * 86400  # seconds
MAX_TEXT = {"type": 128, "title": 1024, "body": 32768, "action_url": 2048, "collapse_key": 128}  # characters
_ID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


class Limits(NamedTuple):
    """The bounds of one publication: its size in bytes, and how many users and topics it may address."""

    size: int = 65536
    users: int = 1000
    topics: int = 100


class Publication(NamedTuple):
    """A notification on its way in: where it goes, how it is kept, and its members as they came.

    `channels` are what it is appended to, each once; `members` is the inside of the outgoing JSON object, `ttl` is in
    seconds.
    """

    channels: list[str]
    members: bytes
    retain: str = "inbox"
    ttl: int | None = None
    collapse_key: str = ""
    type: str = ""

    def encode(self, id: str, created: float) -> bytes:
        """Return the JSON that goes out, for an id and a time of creation in Unix seconds.

        It begins with the id, so that the recall script finds it in a log without decoding JSON.
        """
        expires = b""
        if self.ttl is not None:
            expires = b',"expires_at":"%b"' % rfc3339(created + self.ttl).encode()
        head = b'{"id":"%b","created_at":"%b"' % (id.encode(), rfc3339(created).encode())
        return b"".join((head, self.members, expires, b"}"))


def parse(body: bytes, limits: Limits) -> Publication:
    """Return the publication that a JSON object describes.

    Raises:
        BodyTooLarge: it is longer than the limit.
        MalformedJson: it is no JSON object in UTF-8.
        InvalidNotification: it breaks rules; every fault is named with its JSON pointer.
    """
    if len(body) > limits.size:
        raise BodyTooLarge(f"A notification has at most {limits.size} bytes, this one has {len(body)}.")
    members = _members(body)
    reader = _Reader(limits)
    if "to" not in members:
        reader.fault("required", "Say whom it is for.", "to")
    return _publication(members, reader)


def parse_to_topic(topic: str, body: bytes, sender: str, limits: Limits) -> Publication:
    """Return the publication that a client asks for: to one topic, by the user that the service knows it to be.

    It is kept in the history unless it says otherwise: what people write to each other is no inbox.

    Raises:
        BodyTooLarge, MalformedJson, InvalidNotification: as above.
    """
    if len(body) > limits.size:
        raise BodyTooLarge(f"A notification has at most {limits.size} bytes, this one has {len(body)}.")
    members = _members(body)
    reader = _Reader(limits)
    if members.pop("to", None) is not None:
        reader.fault("unknown_field", "The frame names the topic.", "to")
    publication = _publication({"retain": _HISTORY} | members, reader)
    return publication._replace(
        channels=[channel.of_topic(topic)],
        members=publication.members + b',"sender":' + msgspec.json.encode(sender),
    )


def _publication(members: dict[str, Raw], reader: "_Reader") -> Publication:
    values = {name: reader.read(name, raw) for name, raw in members.items()}
    if not members.keys() & _SOMETHING_TO_SHOW:
        reader.fault("required", "Give it a type, a title, a body or data.")
    if reader.faults:
        raise InvalidNotification(faults=reader.faults)
    out = [
        b',"%b":%b' % (_OUT[name], values[name] if name == "data" else members[name])
        for name in members
        if name in _OUT
    ]
    if "severity" not in members:
        out.append(b',"severity":"info"')
    return Publication(
        values.get("to", []),
        b"".join(out),
        values.get("retain", "inbox"),
        values.get("ttl"),
        values.get("collapse_key", ""),
        values.get("type", ""),
    )


def new_id(ms: int, random: bytes) -> str:
    """Return a UUID version 7 (RFC 9562 section 5.7) of a time in milliseconds and 10 random bytes.

    Every entry of the notification has an id time of at least `ms`, so it is found in a log without an index.
    """
    digits = f"{ms & 0xFFFFFFFFFFFF:012x}7{random.hex()}"
    variant = "89ab"[random[2] & 3]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def id_of(body: bytes) -> str:
    """Return the id of a notification's JSON as it goes out."""
    return body[7:43].decode()


def type_of(body: bytes) -> str:
    """Return the type of a notification's JSON as it goes out; empty: it has none."""
    return _decode_type(body).type if b'"type":' in body else ""


def time_of(id: str) -> int | None:
    """Return the milliseconds that a notification's id begins with, or None if it is no such id."""
    found = _ID.match(id)
    return int(found[1] + found[2], 16) if found else None


@functools.lru_cache(maxsize=64)  # a batch has one time of creation
def rfc3339(time: float) -> str:
    """Return a time in Unix seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_SOMETHING_TO_SHOW = {"type", "title", "body", "data"}
_OUT = {name: name.encode() for name in ("severity", "data", *MAX_TEXT)}
_ADDRESSES = ("users", "topics", "all")
_HISTORY = Raw(b'"history"')
_KNOWN = sorted({"to", "ttl", "retain", *_OUT})


class _Typed(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_Typed).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int).decode
_decode_flag = msgspec.json.Decoder(bool).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def _members(body: bytes) -> dict[str, Raw]:
    if json_shape.is_deep(body, json_shape.MAX_DEPTH + 1):
        detail = f"At most {json_shape.MAX_DEPTH} levels of arrays and objects."
        if not body.lstrip().startswith(b"{"):
            raise MalformedJson(detail)
        raise InvalidNotification(faults=[Fault("", "too_deep", detail)])
    try:
        # Members are kept as they came, so the decoder does not look into their strings.
        body.isascii() or body.decode()
        return _decode_members(body)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"Byte {error.start} is not UTF-8.") from error
    except msgspec.DecodeError as error:
        raise MalformedJson(str(error)) from error


def _on_one_line(json: Raw) -> bytes:
    """Return JSON without line breaks: a frame, an event and an NDJSON line are one line each."""
    text = bytes(json)
    if b"\n" not in text and b"\r" not in text:
        return text
    return msgspec.json.format(text, indent=-1)


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class _Reader:
    """Reads members and collects what is wrong with them. What is wrong has the value None."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.faults: list[Fault] = []

    def read(self, name: str, raw: Raw) -> Any:
        """Return the value of a member."""
        if name in MAX_TEXT:
            return self._text(name, raw)
        match name:
            case "to":
                return self._channels(raw)
            case "data":
                return self._data(raw)
            case "retain":
                return self._choice(name, raw, RETAINS)
            case "severity":
                return self._choice(name, raw, SEVERITIES)
            case "ttl":
                return self._ttl(raw)
        return self._unknown(_KNOWN, name)

    def fault(self, code: str, detail: str, *path: str | int) -> None:
        """Note what is wrong."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(pointer(*path), code, detail))

    def _channels(self, raw: Raw) -> list[str]:
        to: dict[str, Raw] | None = self._decode(_decode_members, raw, "an object", "to")
        if to is None:
            return []
        faults = len(self.faults)
        channels: list[str] = []
        for kind, value in to.items():
            match kind:
                case "users":
                    users = self._names(kind, value, self.limits.users, channel.fault_of_name)
                    channels += map(channel.of_user, users)
                case "topics":
                    topics = self._names(kind, value, self.limits.topics, channel.fault_of_topic)
                    channels += map(channel.of_topic, topics)
                case "all":
                    if self._decode(_decode_flag, value, "true or false", "to", kind):
                        channels.append(channel.ALL)
                case _:
                    self._unknown(_ADDRESSES, "to", kind)
        if not channels and len(self.faults) == faults:
            self.fault("empty", "Name a user, a topic or all.", "to")
        return channels

    def _names(self, kind: str, raw: Raw, most: int, fault_of: Callable[[str], str | None]) -> list[str]:
        items: list[Raw] = self._decode(_decode_list, raw, "a list of names", "to", kind) or []
        if len(items) > most:
            self.fault("too_many", f"At most {most} in one publication.", "to", kind)
            return []
        names = []
        for index, item in enumerate(items):
            name: str | None = self._decode(_decode_text, item, "a string", "to", kind, index)
            if name is not None:
                fault = fault_of(name)
                if fault:
                    self.fault("invalid_name", fault, "to", kind, index)
                names.append(name)
        return list(dict.fromkeys(names))

    def _text(self, name: str, raw: Raw) -> str | None:
        text: str | None = self._decode(_decode_text, raw, "a string", name)
        if text is None:
            return None
        if len(text) > MAX_TEXT[name]:
            self.fault("too_long", f"At most {MAX_TEXT[name]} characters.", name)
        if not text and name in ("type", "collapse_key"):
            self.fault("empty", "Leave it out or give it at least one character.", name)
        if name == "type" and not text.isprintable():
            self.fault("invalid_name", "A type has no control characters and no line breaks.", name)
        if name == "action_url" and not urls.is_safe(text):
            self.fault("invalid_url", "A path that begins with / or an http(s) URL.", name)
        return text

    def _data(self, raw: Raw) -> bytes:
        if not json_shape.fits_doubles(bytes(raw)):
            detail = f"Numbers have at most {json_shape.MAX_DIGITS} digits and fit a double. Use a string."
            self.fault("number_out_of_range", detail, "data")
        return _on_one_line(raw)

    def _choice(self, name: str, raw: Raw, choices: tuple[str, ...]) -> str | None:
        word: str | None = self._decode(_decode_text, raw, "a string", name)
        if word is not None and word not in choices:
            self.fault("unknown_value", f"One of {', '.join(choices)}.", name)
        return word

    def _ttl(self, raw: Raw) -> int | None:
        ttl: int | None = self._decode(_decode_number, raw, "a whole number", "ttl")
        if ttl is not None and not 1 <= ttl <= MAX_TTL:
            self.fault("out_of_range", f"From 1 to {MAX_TTL} seconds.", "ttl")
        return ttl

    def _decode(self, decode: Callable[[Raw], Any], raw: Raw, expected: str, *path: str | int) -> Any:
        try:
            return decode(raw)
        except msgspec.DecodeError:
            self.fault("wrong_type", f"Expected {expected}.", *path)
            return None

    def _unknown(self, known: Iterable[str], *path: str) -> None:
        self.fault("unknown_field", f"Known are {', '.join(known)}.", *path)
