"""Base64url without padding (RFC 7515 section 2)."""

import base64


def decode(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        ValueError
    """
    if "+" in text or "/" in text:
        raise ValueError("this is the other alphabet")
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def encode(data: bytes) -> str:
    """Return the text of bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
