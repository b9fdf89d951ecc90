"""Variables: the values of texts, and what is said about wrong ones."""

import pytest

from notifier import variables


@pytest.mark.parametrize(
    "text, value", [("1", True), ("TRUE", True), ("on", True), ("", False), ("0", False), ("No", False)]
)
def test_flag(text: str, value: bool) -> None:
    """A switch is written in several ways."""
    assert variables.flag(text) is value


@pytest.mark.parametrize("text", ["2", " ", "ja", "01"])
def test_no_flag(text: str) -> None:
    """Anything else is neither on nor off."""
    with pytest.raises(ValueError, match="neither 1 nor 0"):
        variables.flag(text)


def test_words() -> None:
    """Spaces and empty parts do not count."""
    assert variables.words(" a, b c ,, d,") == ("a", "b c", "d")
    assert variables.words("") == ()


def test_claim() -> None:
    """A claim has a name."""
    assert variables.claim("https://example.org/user") == "https://example.org/user"
    with pytest.raises(ValueError):
        variables.claim("")


@pytest.mark.parametrize("text", ["", "redis://h:1/2", "rediss://u:p@h", "unix:///run/redis.sock"])
def test_redis_url(text: str) -> None:
    """A URL of Redis is returned as it is."""
    assert variables.redis_url(text) == text


@pytest.mark.parametrize("text", ["h:1", "http://h", "redis://u:pass/word@h:x", "redis://["])
def test_no_redis_url(text: str) -> None:
    """What is said about other texts has no part of a password."""
    with pytest.raises(ValueError) as caught:
        variables.redis_url(text)
    assert "pass" not in str(caught.value).replace("password", "")
