"""The fields of a notification: reads each, and collects what is wrong with them."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from notifier.protocol import channel, json_shape, urls
from notifier.protocol.faults import MOST_FAULTS, Faults, pointer

SEVERITIES = ("info", "success", "warning", "error", "critical")
RETAINS = ("inbox", "history", "none")
MAX_TTL = 365 * 86400  # seconds
MAX_TEXT = {"type": 128, "title": 1024, "body": 32768, "action_url": 2048, "collapse_key": 128}  # characters
SENT = {name: b',"%b":' % name.encode() for name in ("severity", "data", *MAX_TEXT)}  # what recipients receive
_RECIPIENTS = ("users", "topics", "all")
_KNOWN = sorted({"to", "ttl", "retain", *SENT})
MOST_FIELDS = len(_KNOWN) + MOST_FAULTS  # that are read: among more, enough are unknown

decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int).decode
_decode_flag = msgspec.json.Decoder(bool).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


class FieldReader:
    """Reads the fields of one notification, and collects their `faults`. The value of a field with a fault is None."""

    def __init__(self, faults: Faults, max_users: int, max_topics: int) -> None:
        self.faults = faults
        self._max_users = max_users
        self._max_topics = max_topics

    def read(self, name: str, raw: Raw) -> Any:
        """Return the value of a field."""
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
        """Record a fault of the field at `path`."""
        self.faults.add(pointer(*path), code, detail)

    def _channels(self, raw: Raw) -> list[str]:
        to: dict[str, Raw] | None = self._decode(decode_object, raw, "an object", "to")
        if to is None:
            return []
        faults = len(self.faults)
        channels: list[str] = []
        for kind, value in to.items():
            if self.faults.is_full:
                break
            match kind:
                case "users":
                    users = self._names(kind, value, self._max_users, channel.fault_of_name)
                    channels += map(channel.of_user, users)
                case "topics":
                    topics = self._names(kind, value, self._max_topics, channel.fault_of_topic)
                    channels += map(channel.of_topic, topics)
                case "all":
                    if self._decode(_decode_flag, value, "true or false", "to", kind):
                        channels.append(channel.ALL)
                case _:
                    self._unknown(_RECIPIENTS, "to", kind)
        if not channels and len(self.faults) == faults:
            self.fault("empty", "Name a user, a topic or all.", "to")
        return channels

    def _names(self, kind: str, raw: Raw, most: int, fault_of: Callable[[str], str | None]) -> list[str]:
        try:
            names: list[str] = _decode_names(raw)
        except msgspec.DecodeError:
            names = []
        # By far the most frequent case, and a list may have a thousand names.
        if names and len(names) <= most and not any(map(fault_of, names)):
            return list(dict.fromkeys(names))
        return self._check_names(kind, raw, most, fault_of)

    def _check_names(self, kind: str, raw: Raw, most: int, fault_of: Callable[[str], str | None]) -> list[str]:
        """Return a list of names, and record what is wrong with it."""
        items: list[Raw] = self._decode(_decode_list, raw, "a list of names", "to", kind) or []
        if len(items) > most:
            self.fault("too_many", f"At most {most} in one publication.", "to", kind)
            return []
        names = []
        for index, item in enumerate(items):
            if self.faults.is_full:
                break
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
        json = bytes(raw)
        if not json_shape.fits_doubles(json):
            detail = f"Numbers have at most {json_shape.MAX_DIGITS} digits and fit in a double. Use a string."
            self.fault("number_out_of_range", detail, "data")
        return _on_one_line(json)

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
        self.fault("unknown_field", f"The known fields are {', '.join(known)}.", *path)


def _on_one_line(json: bytes) -> bytes:
    """Return JSON without line breaks: a frame, an event and an NDJSON line are one line each."""
    if b"\n" not in json and b"\r" not in json:
        return json
    return msgspec.json.format(json, indent=-1)
