"""Channels: `user:alice`, `topic:orders` and `all`; the rules for names, and grants."""

import unicodedata

ALL = "all"
MAX_NAME = 128  # characters; a name becomes part of several Redis keys


def of_user(name: str) -> str:
    """Return the channel that all connections of a user are subscribed to."""
    return f"user:{name}"


def of_topic(name: str) -> str:
    """Return the channel of a topic."""
    return f"topic:{name}"


def is_user(channel: str) -> bool:
    """Return whether it is a user's channel."""
    return channel.startswith("user:")


def is_everyone(channel: str) -> bool:
    """Return whether it is the channel of all users of a tenant."""
    return channel.startswith(ALL)


def user_of(channel: str) -> str:
    """Return the user of a user's channel."""
    return channel[5:]


def topic_of(channel: str) -> str | None:
    """Return the topic of a topic's channel, or None for other channels."""
    return channel[6:] if channel.startswith("topic:") else None


def fault_of_name(name: str) -> str | None:
    """Return what is wrong with the name of a user or topic, or None.

    Braces are rejected because the name becomes a Redis hash tag, spaces, control and invisible characters because
    nobody can see them in a log. `.` and `..` cannot be part of a URL's path (RFC 3986 section 5.2.4). A name in
    several normalization forms would be several users who look alike.
    """
    if not name:
        return "A name has at least one character."
    if len(name) > MAX_NAME:
        return f"A name has at most {MAX_NAME} characters."
    if " " in name or not name.isprintable():
        return "A name has no spaces and no control characters."
    if "{" in name or "}" in name:
        return "A name has no braces."
    if name in (".", ".."):
        return "A name is not . or .., which cannot be part of a URL's path."
    return None if name.isascii() else _fault_of_characters(name)


def _fault_of_characters(name: str) -> str | None:
    if not unicodedata.is_normalized("NFC", name):
        return "A name is in Unicode normalization form C (NFC)."
    if not _INVISIBLE.isdisjoint(name) or all(unicodedata.category(character)[0] == "M" for character in name):
        return "A name has visible characters only."
    return None


# Letters and a symbol that are invisible: Hangul fillers and the blank Braille pattern.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def fault_of_topic(name: str) -> str | None:
    """Return what is wrong with the name of a topic, or None."""
    if "*" in name:
        return "Only grants have wildcards; a topic is named in full."
    return fault_of_name(name)


def fault_of_pattern(pattern: str) -> str | None:
    """Return what is wrong with a topic or pattern of a grant, or None."""
    name = pattern.removesuffix("*")
    return None if pattern == "*" else fault_of_topic(name)


def fault_of_user_pattern(pattern: str) -> str | None:
    """Return what is wrong with a user or pattern of an API key, or None."""
    name = pattern.removesuffix("*")
    if "*" in name:
        return "A pattern has one wildcard, at its end."
    return None if pattern == "*" else fault_of_name(name)


def grants(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether a pattern grants a topic or user: `orders` grants that one, `project:*` all that begin so."""
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)
