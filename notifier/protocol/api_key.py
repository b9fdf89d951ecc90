"""API keys: what a backend may do, which topics it may reach, and how the setting spells it."""

import json
from collections.abc import Iterable
from typing import NamedTuple

from notifier.errors import Forbidden
from notifier.protocol import channel

SCOPES = ("publish", "broadcast", "recall", "members", "users", "tokens")
MIN_SECRET = 16  # characters


class ApiKey(NamedTuple):
    """A key of a backend. `topics` are patterns, as in the grants of a token."""

    id: str
    secret: str
    scopes: frozenset[str] = frozenset(SCOPES)
    topics: tuple[str, ...] = ("*",)

    def require_scope(self, scopes: Iterable[str]) -> None:
        """Reject a key that has none of these scopes.

        Raises:
            Forbidden
        """
        if not self.scopes.intersection(scopes):
            raise Forbidden(f"The key {self.id} has none of the scopes {', '.join(scopes)}.")

    def require_topics(self, channels: Iterable[str]) -> None:
        """Reject a key that does not grant the topics among these channels.

        Raises:
            Forbidden
        """
        for name in channels:
            topic = channel.topic_of(name)
            if topic is not None and not channel.grants(self.topics, topic):
                raise Forbidden(f"The key {self.id} does not grant the topic {topic}.")

    def require_grants(self, channels: Iterable[str], scope: str) -> None:
        """Reject a key that may not reach all of these channels. `all` needs the scope `broadcast` instead of `scope`.

        Raises:
            Forbidden
        """
        self.require_topics(channels)
        for name in channels:
            needed = "broadcast" if name == channel.ALL else scope
            if needed not in self.scopes:
                raise Forbidden(f"The key {self.id} does not have the scope {needed}.")


def parse(text: str) -> tuple[ApiKey, ...]:
    """Return the keys of a setting: `id:secret,id:secret`, or a JSON list of objects.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting. It contains no secret.
    """
    keys = _restricted_keys(text) if text.lstrip().startswith("[") else _plain_keys(text)
    if any(not key.id or len(key.secret) < MIN_SECRET for key in keys):
        raise ValueError(f"needs an id and a secret of at least {MIN_SECRET} characters for each key")
    if any(not (key.secret.isascii() and key.secret.isprintable() and " " not in key.secret) for key in keys):
        raise ValueError("has a secret with spaces, line breaks or characters beyond ASCII: no request can send it")
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("has the same id twice")
    return keys


def _plain_keys(text: str) -> tuple[ApiKey, ...]:
    pairs = (word.strip().partition(":") for word in text.split(",") if word.strip())
    return tuple(ApiKey(id.strip(), secret.strip()) for id, _, secret in pairs)


def _restricted_keys(text: str) -> tuple[ApiKey, ...]:
    try:
        return tuple(_restricted_key(**item) for item in json.loads(text))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError('is not a JSON list of objects {"id", "secret", "scopes": [...], "topics": [...]}') from error


def _restricted_key(id: str, secret: str, scopes: list[str] | None = None, topics: list[str] | None = None) -> ApiKey:
    for names in (scopes, topics):
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError("has scopes or topics that are not a list of names")
    chosen = frozenset(SCOPES if scopes is None else scopes)
    if chosen - frozenset(SCOPES):
        raise ValueError(f"has an unknown scope; the scopes are {', '.join(SCOPES)}")
    return ApiKey(str(id), str(secret), chosen, ("*",) if topics is None else tuple(topics))
