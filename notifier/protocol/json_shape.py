"""The shape of JSON that is passed on unread: how deep it is nested, and which numbers it has.

A notification's `data` goes to clients in many languages as the bytes that came. All of them must be able to read it,
so it is limited to what all of them can: 64 levels, and numbers that fit in a double (RFC 8259 sections 6 and 9).

The event loop reads the JSON of clients that may be hostile, so the time for each character has to be short, and the
same for all texts: no step here runs Python for each token, and none reads a part of the text again.
"""

import itertools
import math
import re

MAX_DEPTH = 64  # levels of arrays and objects
MAX_DIGITS = 308  # of a number; the greatest double has 309

_MANY = b"0" * 200  # digits: a number with as many may be too long
# The last quote of a string is optional, so that text without one is read once and not from each of its quotes.
_TEXT_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_MOST_TOKENS = 4096  # that are read one by one, whatever they are: a millisecond
_COLON = re.compile(r"\s*:")
_LARGE_EXPONENT = re.compile(rb"[eE][+-]?[0-9]{3}")

_ESCAPES = 128  # quotes and backslashes in a value: a name of a user or topic may consist of them
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 1 and -1, as signed bytes
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ZEROS = bytes.maketrans(b"0123456789", b"0" * 10)
_NUMBER = re.compile(rb"[0-9][0-9.eE+-]*")
_DIGITS = b"0123456789"


def fits_doubles(json: bytes) -> bool:
    """Return whether all numbers of valid JSON are finite doubles of at most 308 digits."""
    # A number that is too long or too large has one of these. Strings may have them, too: then numbers are read.
    has_many = len(json) >= len(_MANY) and _MANY in json.translate(_ZEROS)
    if not has_many and not _LARGE_EXPONENT.search(json):
        return True
    numbers = _NUMBER.findall(_without_strings(json, b" "))
    if max(map(len, numbers), default=0) > MAX_DIGITS and max(map(_digits, numbers)) > MAX_DIGITS:
        return False
    return all(map(math.isfinite, map(float, numbers)))


def has_more_values(json: bytes, most: int) -> bool:
    """Return whether JSON has more strings, or more other values, than `most`, or a string no name can be as long as.

    Names of fields are strings, too. The JSON need not be valid.
    """
    if b"\\" in json:
        if json.count(b"\\\\") + json.count(b'\\"') > _ESCAPES * most:
            return True
        json = _without_escapes(json)
    return json.count(b'"') > 2 * most or b"".join(json.split(b'"')[::2]).count(b",") > most


def is_deep(json: bytes, most: int) -> bool:
    """Return whether JSON has more levels of arrays and objects than `most`. It need not be valid."""
    if json.count(b"[") + json.count(b"{") <= most:
        return False
    outside = _without_strings(json, b"")
    opened = outside.count(b"[") + outside.count(b"{")
    # Each bracket is around an innermost one, at most so many are around one of these, and commas are between them.
    if opened > _MOST_TOKENS and opened > most * (outside.count(b",") + 1):
        return True
    steps = outside.translate(_STEPS, _NO_BRACKETS)[: 2 * opened]  # if there are more, a bracket too many is closed
    return max(itertools.accumulate(memoryview(steps).cast("b")), default=0) > most


def text_of(json: str, name: str) -> str | None:
    """Return a string among the fields of a JSON object as it is written, however deep its other fields are.

    It is not found behind thousands of others.
    """
    depth = 0
    is_value = False
    key = f'"{name}"'
    for token in itertools.islice(_TEXT_TOKEN.finditer(json), _MOST_TOKENS):
        word = token[0]
        if word[0] != '"':
            depth += 1 if word in "[{" else -1
            is_value = False
        elif is_value:
            return word
        else:
            is_value = depth == 1 and word == key and _COLON.match(json, token.end()) is not None
    return None


def _digits(number: bytes) -> int:
    return len(number) - len(number.translate(None, _DIGITS))


def _without_strings(json: bytes, instead: bytes) -> bytes:
    """Return what is between the strings. Where it is no JSON, that is right up to the first fault."""
    return instead.join(_without_escapes(json).split(b'"')[::2])


def _without_escapes(json: bytes) -> bytes:
    """Return JSON without the quotes and backslashes in its strings."""
    return json.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in json else json
