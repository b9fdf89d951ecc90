"""Texts of API keys: what scanners, people and the service recognize."""

import re
import zlib

from notifier.protocol import key_text
from tests.kit.cases import rows

ID, SECRET = bytes(range(8)), bytes(range(100, 132))
TEXT = key_text.new_text(key_text.new_id(ID), SECRET)
PATTERN = re.compile(r"\bnk_(live|test)_[0-9A-Za-z]{11}_[0-9A-Za-z]{49}\b")  # as docs/http-api.md has it
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def number(text: str) -> int:
    """Return the number that base62 spells."""
    total = 0
    for digit in text:
        total = total * 62 + DIGITS.index(digit)
    return total


@rows("byte", [b"\0", b"\x7f", b"\xff"])
@rows("is_test", [True, False])
def test_form(byte: bytes, is_test: bool) -> None:
    """Every key is found by the pattern, as a whole word, and names its mode."""
    id = key_text.new_id(byte * 8)
    text = key_text.new_text(id, byte * 32, is_test=is_test)
    found = PATTERN.fullmatch(text)
    assert found and found[1] == ("test" if is_test else "live")
    assert key_text.id_of(text) == id
    assert key_text.is_intact(text)


def test_parts() -> None:
    """The id and the secret are whole numbers in base62, so no bit of the secret is lost; then comes a CRC-32."""
    prefix, mode, id, rest = TEXT.split("_")
    assert (prefix, mode) == ("nk", "live")
    assert number(id) == int.from_bytes(ID)
    assert number(rest[:43]) == int.from_bytes(SECRET)
    assert number(rest[43:]) == zlib.crc32(TEXT[:-6].encode())


def test_mistakes() -> None:
    """A character that was changed, two that were swapped, and another prefix are noticed."""
    for index in range(len("nk_"), len(TEXT)):
        changed = TEXT[:index] + ("A" if TEXT[index] != "A" else "B") + TEXT[index + 1 :]
        assert not key_text.is_intact(changed)
        swapped = TEXT[: index - 1] + TEXT[index] + TEXT[index - 1] + TEXT[index + 1 :]
        assert swapped == TEXT or not key_text.is_intact(swapped)
    assert not key_text.is_intact(TEXT.replace("live", "test"))


@rows(
    "text",
    [
        "",
        "nk_",
        "nk_live_",
        TEXT[:-1],
        TEXT + "x",
        f" {TEXT}",
        TEXT.upper(),
        TEXT.replace("live", "dev_"),
        "x" * len(TEXT),
    ],
)
def test_others(text: str) -> None:
    """Other texts are not managed keys."""
    assert key_text.id_of(text) is None
    assert not key_text.is_intact(text)


def test_digest() -> None:
    """The stored digest covers the whole text."""
    others = {key_text.digest_of(TEXT[:index] + "." + TEXT[index + 1 :]) for index in range(len(TEXT))}
    assert len(others | {key_text.digest_of(TEXT)}) == len(TEXT) + 1
    assert len(key_text.digest_of(TEXT)) == 32
