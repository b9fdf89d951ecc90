"""Texts of managed API keys: `nk_live_ID_SECRET`, whose last characters are a checksum.

Secret scanners recognize them: the prefix finds candidates, and the checksum rejects what only looks like a key. The
id is public: it finds the key, and tells an operator which key has leaked.
"""

import hashlib
import zlib

LIVE, TEST = "nk_live_", "nk_test_"  # of equal length
ID_BYTES, SECRET_BYTES = 8, 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECKSUM = 11, 43, 6  # characters
_FIRST, _END = len(LIVE), len(LIVE) + _ID  # of the id
_LENGTH = _END + 1 + _SECRET + _CHECKSUM


def new_id(random: bytes) -> str:
    """Return the id of a key, made of `ID_BYTES` random bytes."""
    return _base62(int.from_bytes(random), _ID)


def new_text(id: str, random: bytes, *, is_test: bool = False) -> str:
    """Return the text of a key, whose secret is made of `SECRET_BYTES` random bytes."""
    text = f"{TEST if is_test else LIVE}{id}_{_base62(int.from_bytes(random), _SECRET)}"
    return text + _checksum(text)


def id_of(text: str) -> str | None:
    """Return the id in the text of a managed key, or None if it is something else. This does not check it."""
    if len(text) != _LENGTH or not text.startswith((LIVE, TEST)) or text[_END] != "_":
        return None
    return text[_FIRST:_END]


def is_intact(text: str) -> bool:
    """Return whether the checksum of a text is right: otherwise it was mistyped or cut off."""
    return id_of(text) is not None and _checksum(text[:-_CHECKSUM]) == text[-_CHECKSUM:]


def digest_of(text: str) -> bytes:
    """Return what is stored of a key. A secret of 256 bits needs no slow hash."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
