"""The shape of JSON that is passed on unread: how deep it is nested, and which numbers it has.

A notification's `data` goes to clients in many languages as the bytes that came. All of them must be able to read it,
so it is limited to what all of them can: 64 levels, and numbers that fit a double (RFC 8259 sections 6 and 9).
"""

import math
import re
from itertools import accumulate, islice

MAX_DEPTH = 64  # levels of arrays and objects
MAX_DIGITS = 308  # of a number; the greatest double has 309

# A number that is too long or too large has one of these. Strings may have them, too: then tokens are read.
_SUSPICIOUS = re.compile(rb"[0-9]{200}|[eE][+-]?[0-9]{3}")
# The last quote of a string is optional, so that text without one is read once and not from each of its quotes.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NUMBER = re.compile(rb"[0-9][0-9.eE+-]{4,}")  # shorter ones fit
_MOST_TOKENS = 4096  # that are read one by one: a millisecond
_TEXT_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def fits_doubles(json: bytes) -> bool:
    """Return whether all numbers of valid JSON are finite doubles of at most 308 digits."""
    return not _SUSPICIOUS.search(json) or all(map(_fits_a_double, _NUMBER.findall(_STRING.sub(b" ", json))))


def is_deep(json: bytes, most: int) -> bool:
    """Return whether JSON has more levels of arrays and objects than `most`. It need not be valid."""
    if json.count(b"[") + json.count(b"{") <= most:
        return False
    # Not token by token: 64 KB may have as many brackets, and all connections wait meanwhile.
    steps = _STRING.sub(b"", json).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > most


def text_of(json: str, name: str) -> str | None:
    """Return a string among the fields of a JSON object as it is written, however deep its other fields are.

    It is not found behind thousands of others.
    """
    depth = 0
    is_value = False
    for token in islice(_TEXT_TOKEN.finditer(json), _MOST_TOKENS):
        word = token[0]
        if word[0] != '"':
            depth += 1 if word in "[{" else -1
            is_value = False
        elif is_value:
            return word
        else:
            is_value = depth == 1 and word == f'"{name}"' and json[token.end() :].lstrip().startswith(":")
    return None


_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # the latter is -1
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _fits_a_double(number: bytes) -> bool:
    has_digits_left = len(number) <= MAX_DIGITS or sum(map(number.count, _DIGITS)) <= MAX_DIGITS
    return has_digits_left and math.isfinite(float(number))


_DIGITS = [b"%d" % digit for digit in range(10)]
