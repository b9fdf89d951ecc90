"""API keys: what a backend may do, which topics and users it may reach, and how the setting spells it."""

import functools
import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from notifier.errors import Forbidden
from notifier.protocol import channel
from notifier.protocol import tenant as tenants
from notifier.protocol.share import Share

SCOPES = ("publish", "broadcast", "recall", "members", "users", "tokens", "admin")
ANY = ("*",)
MIN_SECRET = 16  # characters
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="notifier"'}  # of answers to requests without a valid key or token


class ApiKey(NamedTuple):
    """A key of a backend. `topics` and `users` are patterns, as in the grants of a token, within the `tenant`.

    Managed keys have a `name`, and no `secret`: only its digest is known. `holder` is the id of the limited key in
    whose share the key counts; empty: its own.
    """

    id: str
    secret: str
    scopes: frozenset[str] = frozenset(SCOPES)
    topics: tuple[str, ...] = ANY
    users: tuple[str, ...] = ANY
    name: str = ""
    tenant: str = ""
    holder: str = ""

    @property
    def account(self) -> str:
        """The id under which the usage of the key counts. The keys that a limited key has created count for it.

        So nobody may use more by creating more keys.
        """
        return self.holder or self.id

    @property
    def load(self) -> str:
        """The name under which counts what the key occupies of a worker: requests, answers and exports at a time.

        All keys of a tenant count together: one that may create keys could otherwise fill a worker's memory with them.
        """
        return f"{self.tenant}/" if self.tenant else f"/{self.account}"

    @property
    def share(self) -> Share:
        """The share of limited rooms that the key uses."""
        if not self.is_unlimited:
            return Share(self.tenant, self.holder or self.id)
        return Share(self.tenant, is_operator=not self.tenant and "admin" in self.scopes)

    @property
    def is_unlimited(self) -> bool:
        """Whether the key grants all topics and users of its tenant."""
        return self.covers(ANY, ANY)

    def scoped(self, name: str) -> str:
        """Return a user or topic that the key names as the service uses it."""
        return tenants.scoped(self.tenant, name)

    def require_scope(self, scopes: Iterable[str]) -> None:
        """Reject a key that has none of these scopes.

        Raises:
            Forbidden
        """
        if not self.scopes.intersection(scopes):
            raise Forbidden(f"The key {self.id} has none of the scopes {', '.join(scopes)}.")

    def require_channels(self, channels: Iterable[str]) -> None:
        """Reject a key that does not grant the topics and users among these channels of its tenant.

        Raises:
            Forbidden
        """
        if self.topics == self.users == ANY:
            return  # by far the most frequent case, and a publication may name a thousand users
        for name in channels:
            topic = channel.topic_of(name)
            if topic is not None:
                self._require("topic", self.topics, tenants.outward(topic))
            elif channel.is_user(name):
                self.require_users([tenants.outward(channel.user_of(name))])

    def require_users(self, names: Iterable[str]) -> None:
        """Reject a key that does not grant these users, or patterns of users, as the tenant knows them.

        Raises:
            Forbidden
        """
        for name in names:
            self._require("user", self.users, name)

    def require_everyone(self) -> None:
        """Reject a key that is limited to some users.

        Raises:
            Forbidden
        """
        if not self.covers((), ANY):
            raise Forbidden(f"The key {self.id} does not grant all users.")

    def require_unlimited(self) -> None:
        """Reject a key that is limited to some topics or users.

        Raises:
            Forbidden
        """
        if not self.is_unlimited:
            raise Forbidden(f"The key {self.id} does not grant all topics and users.")

    def governs(self, tenant: str) -> bool:
        """Return whether the key may know what belongs to a tenant: it is its own, or the key is the operator's."""
        return tenant == self.tenant or self.share.is_operator

    def require_default_tenant(self) -> None:
        """Reject a key that is confined to a tenant.

        Raises:
            Forbidden
        """
        if self.tenant:
            raise Forbidden(f"The key {self.id} is confined to its tenant.")

    def require_grants(self, channels: Iterable[str], scope: str) -> None:
        """Reject a key that may not reach all of these channels, which are those of its tenant.

        The channel of all users needs the `broadcast` scope instead of `scope`.

        Raises:
            Forbidden
        """
        self.require_channels(channels)
        everyone = tenants.everyone_of(self.tenant)
        for name in channels:  # of which there may be a thousand
            needed = "broadcast" if name == everyone else scope
            if needed not in self.scopes:
                raise Forbidden(f"The key {self.id} does not have the {needed} scope.")
            if name == everyone:
                self.require_everyone()

    def grants_user(self, name: str) -> bool:
        """Return whether the key grants a user, as the tenant knows the name."""
        return _matcher(self.users)(name)

    def covers(self, topics: Iterable[str], users: Iterable[str]) -> bool:
        """Return whether the key grants all that these patterns grant."""
        pairs = [(self.topics, topics), (self.users, users)]
        return all(_matcher(own)(pattern) for own, patterns in pairs for pattern in patterns)

    def _require(self, kind: str, patterns: tuple[str, ...], name: str) -> None:
        if not _matcher(patterns)(name):
            raise Forbidden(f"The key {self.id} does not grant the {kind} {name}.")


@functools.lru_cache(maxsize=1024)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return `channel.grants` for these patterns: a publication may name a thousand users, and a key has a hundred."""
    names = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return lambda name: name in names or name.startswith(beginnings)


def parse(text: str) -> tuple[ApiKey, ...]:
    """Return the keys of a setting: `id:secret,id:secret`, or a JSON list of objects.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting. It contains no secret.
    """
    keys = _restricted_keys(text) if text.lstrip().startswith("[") else _plain_keys(text)
    if any(not key.id or len(key.secret) < MIN_SECRET for key in keys):
        raise ValueError(f"needs an id and a secret of at least {MIN_SECRET} characters for each key")
    for key in keys:
        parse_secret(key.secret)
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("has the same id twice")
    return keys


def parse_secret(text: str) -> str:
    """Return the secret of a key that has no id; it may be empty.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting. It contains no secret.
    """
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has a secret with spaces, line breaks or characters beyond ASCII: no request can send it")
    if text and len(text) < MIN_SECRET:
        raise ValueError(f"needs at least {MIN_SECRET} characters")
    return text


def _plain_keys(text: str) -> tuple[ApiKey, ...]:
    pairs = (word.strip().partition(":") for word in text.split(",") if word.strip())
    return tuple(ApiKey(id.strip(), secret.strip()) for id, _, secret in pairs)


def _restricted_keys(text: str) -> tuple[ApiKey, ...]:
    form = 'is not a JSON list of objects {"id", "secret", "scopes", "topics", "users", "tenant"}'
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also for whole numbers of more than 4,300 digits
        raise ValueError(form) from error
    try:
        return tuple(_restricted_key(**item) for item in items)
    except TypeError as error:
        raise ValueError(form) from error


def _restricted_key(
    id: str,
    secret: str,
    scopes: list[str] | None = None,
    topics: list[str] | None = None,
    users: list[str] | None = None,
    tenant: str | None = None,
) -> ApiKey:
    for names in (scopes, topics, users):
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError("has scopes, topics or users that are not a list of names")
    chosen = frozenset(SCOPES if scopes is None else scopes)
    if chosen - frozenset(SCOPES):
        raise ValueError(f"has an unknown scope; the scopes are {', '.join(SCOPES)}")
    granted_topics = _patterns("topics", topics, channel.fault_of_pattern)
    granted_users = _patterns("users", users, channel.fault_of_user_pattern)
    if tenant is not None and (not isinstance(tenant, str) or tenants.fault_of(tenant)):
        raise ValueError(f"has a tenant that is none. {tenants.RULE}")
    return ApiKey(str(id), str(secret), chosen, granted_topics, granted_users, tenant=tenant or "")


def _patterns(field: str, patterns: list[str] | None, fault_of: Callable[[str], str | None]) -> tuple[str, ...]:
    if patterns is None:
        return ANY
    for pattern in patterns:
        if fault := fault_of(pattern):
            raise ValueError(f"has {pattern!r} in {field}, which matches nothing. {fault.rstrip('.')}")
    return tuple(patterns)
