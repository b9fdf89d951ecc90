"""Ids of notifications that tests can read: a UUID encodes a name, which can be decoded again."""

from uuid import UUID


def id_of(name: str) -> str:
    """Return the id of a name of at most 16 ASCII characters."""
    return str(UUID(bytes=name.encode().ljust(16, b"\0")))


def name_of(id: str) -> str:
    """Return the name of an id."""
    return UUID(id).bytes.rstrip(b"\0").decode()
