"""Base64url: which text is accepted."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import base64url
from tests.kit.cases import rows


@given(st.binary())
def test_round_trip(data: bytes) -> None:
    """Bytes are encoded without padding."""
    assert base64url.decode(base64.urlsafe_b64encode(data).rstrip(b"=").decode()) == data


@rows("text", ["a", "a+b/", "a b=", "é", "\ud800", "ab\n", "ab==cd"])
def test_invalid(text: str) -> None:
    """Other characters, and the other alphabet, are rejected."""
    with pytest.raises(ValueError):
        base64url.decode(text)
