"""A user's inbox, for asyncio."""

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar, Unpack

from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.inbox import Counts, Item, Marked, Mutes, Page
from notifier.client.inbox_calls import MOST_LISTED, Filters, InboxCalls

T = TypeVar("T")


class Run(Protocol):
    """Carries out a call."""

    async def __call__(self, steps: Steps[T], /) -> T:
        """Return its result."""


class AsyncInbox:
    """`Inbox` for asyncio: the same arguments and methods."""

    def __init__(self, calls: InboxCalls, run: Run) -> None:
        self._calls = calls
        self._run = run

    async def list(
        self,
        *,
        limit: int = 20,
        before: str | None = None,
        deadline: float | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """See `Inbox.list`."""
        return await self._run(self._calls.page(limit, before, deadline, **filters))

    async def items(self, *, deadline: float | None = None, **filters: Unpack[Filters]) -> AsyncIterator[Item]:
        """See `Inbox.items`."""
        before = None
        while True:
            page = await self.list(limit=MOST_LISTED, before=before, deadline=deadline, **filters)
            for item in page.items:
                yield item
            before = page.next
            if before is None:
                return

    async def counts(self, *, deadline: float | None = None) -> Counts:
        """See `Inbox.counts`."""
        return await self._run(self._calls.counts(deadline))

    async def seen(
        self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None
    ) -> Marked:
        """See `Inbox.seen`."""
        return await self._run(self._calls.act("seen", ids, up_to, deadline))

    async def read(
        self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None
    ) -> Marked:
        """See `Inbox.read`."""
        return await self._run(self._calls.act("read", ids, up_to, deadline))

    async def unread(
        self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None
    ) -> Marked:
        """See `Inbox.unread`."""
        return await self._run(self._calls.act("unread", ids, up_to, deadline))

    async def archive(
        self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None
    ) -> Marked:
        """See `Inbox.archive`."""
        return await self._run(self._calls.act("archive", ids, up_to, deadline))

    async def unarchive(
        self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None
    ) -> Marked:
        """See `Inbox.unarchive`."""
        return await self._run(self._calls.act("unarchive", ids, up_to, deadline))

    async def mutes(self, *, deadline: float | None = None) -> Mutes:
        """See `Inbox.mutes`."""
        return await self._run(self._calls.mutes(deadline))

    async def set_mutes(self, types: Names = (), topics: Names = (), *, deadline: float | None = None) -> Mutes:
        """See `Inbox.set_mutes`."""
        return await self._run(self._calls.set_mutes(types, topics, deadline))
