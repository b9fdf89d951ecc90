"""The calls of an operator about API keys and the audit log, for asyncio."""

from collections.abc import AsyncIterator
from typing import TypeVar

from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.key_calls import KeyCalls
from notifier.client.keys import AuditEntry, Key, NewKey

T = TypeVar("T")


class AsyncOperator:
    """`Operator` for asyncio: the same arguments and methods."""

    _keys: KeyCalls

    async def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    async def create_key(
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
        """See `Operator.create_key`."""
        return await self._run(self._keys.create(name, scopes, topics, users, expires_in, test, tenant, deadline))

    async def api_keys(self, *, deadline: float | None = None) -> AsyncIterator[Key]:
        """See `Operator.api_keys`."""
        after = None
        while True:
            page = await self._run(self._keys.page(after, deadline))
            for key in page.keys:
                yield key
            after = page.next
            if after is None:
                return

    async def rotate_key(self, id: str, *, overlap: int | None = None, deadline: float | None = None) -> NewKey:
        """See `Operator.rotate_key`."""
        return await self._run(self._keys.rotate(id, overlap, deadline))

    async def revoke_key(self, id: str, *, deadline: float | None = None) -> None:
        """See `Operator.revoke_key`."""
        await self._run(self._keys.revoke(id, deadline))

    async def audit(self, *, tenant: str | None = None, deadline: float | None = None) -> AsyncIterator[AuditEntry]:
        """See `Operator.audit`."""
        before = None
        while True:
            page = await self._run(self._keys.audit(before, tenant, deadline))
            for entry in page.entries:
                yield entry
            before = page.next
            if before is None:
                return
