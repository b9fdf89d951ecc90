"""Issuers of tokens with public keys, such as Auth0 or Keycloak: how the setting describes them."""

import ipaddress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from notifier.protocol import jwk
from notifier.protocol import tenant as tenants
from notifier.protocol.token_policy import Policy


class Issuer(NamedTuple):
    """An issuer of tokens. Its keys are at `url`, or are the fixed `keys`."""

    policy: Policy
    url: str = ""
    keys: tuple[jwk.Key, ...] = ()
    algorithms: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The `iss` of the issuer's tokens."""
        return self.policy.issuer


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    user: str = "sub"
    topics: str = "topics"
    publish: str = "publish"
    audience: str = "aud"


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    issuer: str
    jwks_url: str | None = None
    jwks: msgspec.Raw = msgspec.Raw()
    audience: str | list[str] = msgspec.field(default_factory=list)
    algorithms: list[str] = msgspec.field(default_factory=list)
    claims: _Claims = msgspec.field(default_factory=_Claims)
    tenant: str | None = None


def parse(text: str) -> tuple[Issuer, ...]:
    """Return the issuers of a setting, a JSON list of objects. `max_age` of their policies is the default.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting.
    """
    try:
        entries = msgspec.json.decode(text or "[]", type=list[_Entry])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f'is not a JSON list of objects {{"issuer", "jwks_url", "audience", ...}}: {error}') from error
    if len({entry.issuer for entry in entries}) < len(entries):
        raise ValueError("has the same issuer twice")
    return tuple(map(_issuer, entries))


def _issuer(entry: _Entry) -> Issuer:
    name, claims = entry.issuer, entry.claims
    if not name:
        raise ValueError("has an issuer without a name")
    if (entry.jwks_url is None) == (not bytes(entry.jwks)):
        raise ValueError(f"needs either jwks_url or jwks for {name}")
    audience = [entry.audience] if isinstance(entry.audience, str) else entry.audience
    if not all([*audience, claims.user, claims.topics, claims.publish, claims.audience]):
        raise ValueError(f"has an empty audience or name of a claim for {name}")
    if claims.audience != "aud" and not audience:
        raise ValueError(f"has a claim for the audience, but no audience for {name}")
    unknown = set(entry.algorithms) - set(jwk.ALGORITHMS)
    if unknown:
        raise ValueError(f"has unknown algorithms for {name}; known are {', '.join(jwk.ALGORITHMS)}")
    if entry.tenant is not None and (fault := tenants.fault_of(entry.tenant)):
        raise ValueError(f"has a tenant for {name} that is none. {fault.rstrip('.')}")
    policy = Policy(
        issuer=name,
        audience=tuple(audience),
        user_claim=claims.user,
        topics_claim=claims.topics,
        publish_claim=claims.publish,
        audience_claim=claims.audience,
        tenant=entry.tenant or "",
    )
    url = "" if entry.jwks_url is None else _checked_url(name, entry.jwks_url)
    return Issuer(policy, url, _fixed_keys(name, entry), tuple(entry.algorithms))


def _fixed_keys(name: str, entry: _Entry) -> tuple[jwk.Key, ...]:
    if not bytes(entry.jwks):
        return ()
    try:
        return jwk.parse(bytes(entry.jwks), entry.algorithms)
    except ValueError as error:
        raise ValueError(f"has a jwks for {name} that cannot be used: {error}") from error


def _checked_url(name: str, url: str) -> str:
    """Return the URL of a key set. Anyone who could change the response in transit could sign tokens."""
    fault = f"has a jwks_url for {name} that is not a URL with https:// (http:// only for this machine)"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises if it is not a number
    except ValueError:
        raise ValueError(fault) from None
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    if not is_safe or not parts.hostname or parts.username is not None or not url.isascii() or not url.isprintable():
        raise ValueError(fault)
    if " " in url:
        raise ValueError(fault)
    return url


def _is_loopback(host: Any) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
