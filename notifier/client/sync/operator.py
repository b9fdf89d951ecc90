"""The calls of an operator about API keys and the audit log, for threads."""

from collections.abc import Iterator
from typing import TypeVar

from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.key_calls import KeyCalls
from notifier.client.keys import AuditEntry, Key, NewKey

T = TypeVar("T")


class Operator:
    """The methods of a client about API keys and the audit log. They need a key with the `admin` scope."""

    _keys: KeyCalls

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def create_key(
        self,
        name: str,
        scopes: Names,
        *,
        topics: Names | None = None,
        users: Names | None = None,
        expires_in: int | None = None,
        test: bool = False,
        tenant: str | None = None,
        deadline: float | None = None,
    ) -> NewKey:
        """Create an API key. It reaches the topics and users of these names and patterns, by default all.

        `expires_in` is in seconds; by default the key does not expire. `test` only changes the beginning of its text.
        The key is confined to the `tenant`, by default that of the client's own key.
        """
        return self._run(self._keys.create(name, scopes, topics, users, expires_in, test, tenant, deadline))

    def api_keys(self, *, deadline: float | None = None) -> Iterator[Key]:
        """Yield all keys: those in the settings of the service first. The deadline applies to each page of them."""
        after = None
        while True:
            page = self._run(self._keys.page(after, deadline))
            yield from page.keys
            after = page.next
            if after is None:
                return

    def rotate_key(self, id: str, *, overlap: int | None = None, deadline: float | None = None) -> NewKey:
        """Give a key a new secret. The one before is accepted for `overlap` more seconds, by default one day."""
        return self._run(self._keys.rotate(id, overlap, deadline))

    def revoke_key(self, id: str, *, deadline: float | None = None) -> None:
        """Revoke a key. All workers reject it within a second."""
        self._run(self._keys.revoke(id, deadline))

    def audit(self, *, tenant: str | None = None, deadline: float | None = None) -> Iterator[AuditEntry]:
        """Yield the entries of the audit log of a tenant, by default that of the client's own key, the newest first.

        The deadline applies to each page of them.
        """
        before = None
        while True:
            page = self._run(self._keys.audit(before, tenant, deadline))
            yield from page.entries
            before = page.next
            if before is None:
                return
