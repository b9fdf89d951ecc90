"""Ids of notifications: UUIDs of version 7, in lower case (RFC 9562)."""

import re

FORM = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def canonical_id(text: str) -> str:
    """Return an id in lower case, as the service writes it; other texts are returned unchanged."""
    id = text.lower()
    return id if FORM.match(id) else text


def key_of(id: str) -> bytes:
    """Return the key of a notification's id, or no bytes for a text that is no id."""
    return bytes.fromhex(id.replace("-", "")) if _UUID.match(id) else b""


def id_of(key: bytes) -> str:
    """Return the id of a notification's key."""
    text = key.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
