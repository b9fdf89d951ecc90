"""Credentials without a service and without Redis."""

from collections.abc import Callable
from typing import Any

from notifier.auth.api_keys import ApiKeys
from notifier.http.credentials import Credentials
from notifier.limits.requests import RequestLimits
from notifier.protocol import identity
from notifier.protocol.identity import Identity
from notifier.settings import AuthSettings


class NoAudit:
    """Takes entries about requests, and keeps them."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def write(self, request: Any, by: Any, action: str, /, **target: Any) -> None:
        self.entries.append((action, target))

    def write_of_key(self, request: Any, by: Any, action: str, tenant: str, /, **target: Any) -> None:
        self.entries.append((action, target | {"tenant": tenant}))

    def broadcast(self, request: Any, key: Any) -> Callable[[str], bytes]:
        return lambda id: id.encode()


def credentials_of(
    settings: AuthSettings,
    verify: Callable[[str], Identity] | None = None,
    limits: RequestLimits | None = None,
) -> Credentials:
    """Return credentials with the keys of the settings; by default, they accept no token."""
    no_keys: Any = None
    keys = ApiKeys(settings.api_keys, no_keys)
    return Credentials(settings, verify or (lambda token: identity.verify(token, (), 0)), keys.find, limits)
