"""The text of JSON in a body."""

import gzip
from collections.abc import Callable

import pytest

from notifier.errors import InvalidMembers, MalformedJson, Problem
from notifier.protocol import notification
from notifier.protocol.inbox_request import read_mutes, read_target
from notifier.protocol.json_text import utf8_of
from notifier.protocol.key_request import read_key_request, read_rotation
from notifier.protocol.notification import Limits
from notifier.protocol.request_fields import read_object
from notifier.protocol.token_request import read_revocation, read_token_request
from tests.kit.cases import rows

READERS: list[Callable[[bytes], object]] = [
    lambda body: notification.parse(body, Limits()),
    lambda body: read_object(body, InvalidMembers),
    lambda body: read_target(body, 1),
    read_mutes,
    lambda body: read_token_request(body, 60),
    lambda body: read_revocation(body, 0),
    read_key_request,
    read_rotation,
]
TEXT = '{"to":{"all":true},"title":"é"}'


@rows("text", [TEXT, " " + TEXT, "", "x"])
def test_utf8(text: str) -> None:
    """UTF-8 is returned unchanged, without a byte order mark."""
    assert utf8_of(text.encode()) == utf8_of(text.encode("utf-8-sig")) == text.encode()


def test_byte_order_mark() -> None:
    """Bodies of every kind may have a byte order mark."""
    body = TEXT.encode("utf-8-sig")
    assert notification.parse(body, Limits()).channels == ["all"]
    assert read_object(body, InvalidMembers)["title"] == "é"


@rows("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings(encoding: str) -> None:
    """An encoding that JSON does not have is named."""
    for read in READERS:
        with pytest.raises(MalformedJson, match="UTF-16") as caught:
            read(TEXT.encode(encoding))
        assert caught.value.detail.endswith("send UTF-8.")


@rows("levels", [66, 5000, 30_000])
@rows("read", READERS)
def test_deep(read: Callable[[bytes], object], levels: int) -> None:
    """Bodies of every kind have at most 64 levels, also in fields that are unknown."""
    with pytest.raises(Problem) as caught:
        read(b'{"x":' + b"[" * levels + b"]" * levels + b"}")
    assert (caught.value.status, [fault.code for fault in caught.value.faults]) == (422, ["too_deep"])
    with pytest.raises(MalformedJson, match="At most 64 levels"):
        read(b"[" * levels)


@rows(
    ("body", "said"),
    [
        (gzip.compress(TEXT.encode(), mtime=0), "compressed"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (f"[{TEXT}]".encode(), "NDJSON"),
        (b"\xef\xbb\xbf []", "NDJSON"),
        (b"{", "truncated"),
        (TEXT.encode("latin-1"), "not UTF-8"),
        (b"\xef\xbb\xbf" + TEXT.encode("utf-8-sig"), "invalid character"),
    ],
)
def test_reasons(body: bytes, said: str) -> None:
    """The error names what the body is instead."""
    with pytest.raises(MalformedJson) as caught:
        notification.parse(body, Limits())
    assert said in caught.value.detail
