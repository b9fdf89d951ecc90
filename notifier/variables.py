"""Variables: what the text of a setting may be, and the value that it has.

Each function raises a `ValueError` whose text ends a sentence that begins with the name of the variable.
"""

from urllib.parse import urlsplit


def flag(text: str) -> bool:
    """Return whether a switch is on."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("is neither 1 nor 0")


def claim(text: str) -> str:
    """Return the name of a claim of a token."""
    if not text:
        raise ValueError("must name a claim")
    return text


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a list that is separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def redis_url(text: str) -> str:
    """Return the URL of a Redis, or nothing."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises if it is not a number
    except ValueError:  # whose text may have a part of the password
        raise ValueError("is not a URL: check its port, and that its password is percent-encoded") from None
    if text and parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text
