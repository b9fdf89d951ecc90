"""Ids of notifications: UUIDs of version 7, in lower case (RFC 9562)."""

import re

FORM = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def canonical_id(text: str) -> str:
    """Return an id in lower case, as the service writes it; other texts are returned unchanged."""
    id = text.lower()
    return id if FORM.match(id) else text
