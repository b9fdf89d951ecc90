"""Notifications: what a publisher may post, and how it goes out.

A notification is decoded once, to check it, and never encoded again: the members go out as the bytes in which they
came, from the request over Redis to the sockets.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from notifier.errors import BodyTooLarge, Fault, InvalidNotification, MalformedJson
from notifier.protocol import channel

SEVERITIES = ("info", "success", "warning", "error", "critical")
RETAINS = ("inbox", "history", "none")
MAX_TTL = 365 * 86400  # seconds
MAX_TEXT = {"type": 128, "title": 1024, "body": 32768, "action_url": 2048, "collapse_key": 128}  # characters
ID_LENGTH = 36


class Limits(NamedTuple):
    """The bounds of one publication: its size in bytes, and how many users and topics it may address."""

    size: int = 65536
    users: int = 1000
    topics: int = 100


class Publication(NamedTuple):
    """A notification on its way in: where it goes, how it is kept, and its members as they came.

    `members` is the inside of the outgoing JSON object, `ttl` is in seconds, `users`, `topics` and `all` say what the
    publisher must be allowed to address.
    """

    users: tuple[str, ...]
    topics: tuple[str, ...]
    all: bool
    members: bytes
    retain: str = "inbox"
    ttl: int | None = None
    collapse_key: str = ""

    @property
    def channels(self) -> list[str]:
        """The channels it is appended to, each once."""
        names = [channel.of_user(user) for user in self.users]
        names += [channel.of_topic(topic) for topic in self.topics]
        return [*names, channel.ALL] if self.all else names

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
    reader = _Reader(members, limits)
    users, topics, everyone = reader.addresses()
    ttl, retain = reader.ttl(), reader.choice("retain", RETAINS) or "inbox"
    texts = {name: reader.text(name) for name in MAX_TEXT}
    severity = reader.choice("severity", SEVERITIES)
    reader.action_url(texts["action_url"])
    reader.something_to_show()
    if reader.faults:
        raise InvalidNotification(faults=reader.faults)
    out = [b',"%b":%b' % (name.encode(), members[name]) for name in texts if texts[name] is not None]
    out.append(b',"severity":"%b"' % (severity or "info").encode())
    if "data" in members:
        out.append(b',"data":%b' % _on_one_line(members["data"]))
    return Publication(users, topics, everyone, b"".join(out), retain, ttl, texts["collapse_key"] or "")


def new_id(ms: int, random: bytes) -> str:
    """Return a UUID version 7 (RFC 9562 section 5.7) of a time in milliseconds and 10 random bytes.

    Every entry of the notification has an id time of at least `ms`, so it is found in a log without an index.
    """
    digits = f"{ms & 0xFFFFFFFFFFFF:012x}7{random.hex()}"
    variant = "89ab"[random[2] & 3]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def time_of(id: str) -> int | None:
    """Return the milliseconds that a notification's id begins with, or None if it is no such id."""
    digits = id.replace("-", "")
    if len(id) != ID_LENGTH or len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return int(digits, 16) >> 80
    except ValueError:
        return None


def rfc3339(time: float) -> str:
    """Return a time in Unix seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int).decode
_decode_flag = msgspec.json.Decoder(bool).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_KNOWN = {"to", "data", "ttl", "retain", "severity", *MAX_TEXT}
_ADDRESSES = {"users", "topics", "all"}


def _members(body: bytes) -> dict[str, Raw]:
    try:
        # Members are kept as they came, so the decoder does not look into their strings.
        body.isascii() or body.decode()
        return _decode_members(body)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"Byte {error.start} is not UTF-8.") from error
    except msgspec.DecodeError as error:
        raise MalformedJson(str(error)) from error
    except RecursionError as error:
        raise MalformedJson("The JSON is nested too deeply.") from error


def _on_one_line(json: Raw) -> bytes:
    """Return JSON without line breaks: a frame, an event and an NDJSON line are one line each."""
    text = bytes(json)
    return text if b"\n" not in text and b"\r" not in text else msgspec.json.format(text, indent=-1)


def _pointer(*parts: str | int) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class _Reader:
    """Reads the members one by one and collects what is wrong with them."""

    def __init__(self, members: dict[str, Raw], limits: Limits) -> None:
        self.members = members
        self.limits = limits
        self.faults: list[Fault] = []
        self._refuse_unknown(members, _KNOWN)

    def addresses(self) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
        """Return users, topics and whether everybody is meant."""
        to = self._decode(self.members, _decode_members, "an object", "to")
        if to is None:
            if "to" not in self.members:
                self._fault("required", "Say whom it is for.", "to")
            return (), (), False
        self._refuse_unknown(to, _ADDRESSES, "to")
        faults = len(self.faults)
        users = self._names(to, "users", self.limits.users, channel.fault_of_name)
        topics = self._names(to, "topics", self.limits.topics, channel.fault_of_topic)
        everyone = bool(self._decode(to, _decode_flag, "true or false", "to", "all"))
        if not (users or topics or everyone or len(self.faults) > faults):
            self._fault("empty", "Name a user, a topic or all.", "to")
        return users, topics, everyone

    def text(self, name: str) -> str | None:
        """Return a text member, or None where it is absent or wrong."""
        text: str | None = self._decode(self.members, _decode_text, "a string", name)
        if text is not None and len(text) > MAX_TEXT[name]:
            self._fault("too_long", f"At most {MAX_TEXT[name]} characters.", name)
        if text == "" and name in ("type", "collapse_key"):
            self._fault("empty", "Leave it out or give it at least one character.", name)
        return text

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """Return one of several words, or None where it is absent or wrong."""
        word: str | None = self._decode(self.members, _decode_text, "a string", name)
        if word is not None and word not in choices:
            self._fault("unknown_value", f"One of {', '.join(choices)}.", name)
        return word

    def ttl(self) -> int | None:
        """Return the time to live in seconds."""
        ttl: int | None = self._decode(self.members, _decode_number, "a whole number", "ttl")
        if ttl is not None and not 1 <= ttl <= MAX_TTL:
            self._fault("out_of_range", f"From 1 to {MAX_TTL} seconds.", "ttl")
        return ttl

    def action_url(self, url: str | None) -> None:
        """Refuse what would run a script when it is clicked."""
        if url is not None and not (
            url.startswith(("https://", "http://")) or (url.startswith("/") and not url.startswith("//"))
        ):
            self._fault("invalid_url", "A path that begins with / or an http(s) URL.", "action_url")

    def something_to_show(self) -> None:
        """Refuse a notification that has nothing in it."""
        if not {"type", "title", "body", "data"} & self.members.keys():
            self._fault("required", "Give it a type, a title, a body or data.")

    def _names(
        self, to: dict[str, Raw], kind: str, most: int, fault_of: Callable[[str], str | None]
    ) -> tuple[str, ...]:
        items: list[Raw] | None = self._decode(to, _decode_list, "a list of names", "to", kind)
        if items is None:
            return ()
        if len(items) > most:
            self._fault("too_many", f"At most {most} in one publication.", "to", kind)
            return ()
        names = []
        for index, item in enumerate(items):
            name = self._decode({kind: item}, _decode_text, "a string", "to", kind, index)
            fault = None if name is None else fault_of(name)
            if fault:
                self._fault("invalid_name", fault, "to", kind, index)
            elif name is not None:
                names.append(name)
        return tuple(dict.fromkeys(names))

    def _decode(self, members: dict[str, Raw], decode: Callable[[Raw], Any], expected: str, *path: str | int) -> Any:
        """Return a member's value, or None where it is absent, and a fault where it has the wrong type."""
        name = next(part for part in reversed(path) if isinstance(part, str))
        raw = members.get(name)
        if raw is None:
            return None
        try:
            return decode(raw)
        except msgspec.DecodeError:
            self._fault("wrong_type", f"Expected {expected}.", *path)
            return None

    def _refuse_unknown(self, members: dict[str, Raw], known: set[str], *path: str) -> None:
        for name in members.keys() - known:
            self._fault("unknown_field", f"Known are {', '.join(sorted(known))}.", *path, name)

    def _fault(self, code: str, detail: str, *path: str | int) -> None:
        self.faults.append(Fault(_pointer(*path), code, detail))
