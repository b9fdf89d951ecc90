"""The calls of a backend about users, members and receipts, for asyncio."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar, Unpack

from notifier.client.backend_calls import BackendCalls, MembersChanged
from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.notification import Notification
from notifier.client.receipts import Explanation, Receipt

T = TypeVar("T")


class AsyncBackend:
    """`Backend` for asyncio: the same arguments and methods."""

    _backend: BackendCalls

    async def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    async def receipts(self, id: str, *, deadline: float | None = None) -> list[Receipt]:
        """See `Backend.receipts`."""
        return await self._run(self._backend.receipts(id, deadline))

    async def explain(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> list[Explanation]:
        """See `Backend.explain`."""
        return await self._run(self._backend.explain({**(notification or {}), **fields}, deadline))

    async def members(self, topic: str, *, deadline: float | None = None) -> AsyncIterator[str]:
        """See `Backend.members`."""
        after = None
        while True:
            page = await self._run(self._backend.members(topic, after, deadline))
            for user in page.members:
                yield user
            after = page.next
            if after is None:
                return

    async def add_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """See `Backend.add_member`."""
        await self._run(self._backend.add_member(topic, user, deadline))

    async def remove_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """See `Backend.remove_member`."""
        await self._run(self._backend.remove_member(topic, user, deadline))

    async def change_members(
        self, topic: str, add: Names = (), remove: Names = (), *, deadline: float | None = None
    ) -> MembersChanged:
        """See `Backend.change_members`."""
        return await self._run(self._backend.change_members(topic, add, remove, deadline))

    async def export_user(self, user: str, *, deadline: float | None = None) -> dict[str, Any]:
        """See `Backend.export_user`."""
        return await self._run(self._backend.export_user(user, deadline))

    async def erase_user(self, user: str, *, deadline: float | None = None) -> None:
        """See `Backend.erase_user`."""
        await self._run(self._backend.erase_user(user, deadline))

    async def disconnect_user(self, user: str, *, revoke: bool = False, deadline: float | None = None) -> None:
        """See `Backend.disconnect_user`."""
        await self._run(self._backend.disconnect_user(user, deadline, revoke))

    async def create_token(
        self,
        user: str,
        *,
        topics: Names = (),
        publish: Names = (),
        expires_in: int | None = None,
        deadline: float | None = None,
    ) -> str:
        """See `Backend.create_token`."""
        return await self._run(self._backend.create_token(user, topics, publish, expires_in, deadline))

    async def revoke_tokens(
        self, user: str, *, issued_before: float | None = None, deadline: float | None = None
    ) -> None:
        """See `Backend.revoke_tokens`."""
        await self._run(self._backend.revoke_tokens(user, issued_before, deadline))

    async def revoke_token(self, jti: str, *, deadline: float | None = None) -> None:
        """See `Backend.revoke_token`."""
        await self._run(self._backend.revoke_token(jti, deadline))
