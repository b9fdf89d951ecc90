"""A user's inbox, for threads."""

from collections.abc import Iterator
from typing import Protocol, TypeVar, Unpack

from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.inbox import Counts, Item, Marked, Mutes, Page
from notifier.client.inbox_calls import MOST_LISTED, Filters, InboxCalls

T = TypeVar("T")


class Run(Protocol):
    """Carries out a call."""

    def __call__(self, steps: Steps[T], /) -> T:
        """Return its result."""


class Inbox:
    """The inbox of a user; see `NotifierClient.inbox`. All methods are idempotent.

    Every method may raise any `NotifierError`: `TooOld` if the service has no inboxes yet. `deadline` is in seconds.
    """

    def __init__(self, calls: InboxCalls, run: Run) -> None:
        self._calls = calls
        self._run = run

    def list(
        self,
        *,
        limit: int = 20,
        before: str | None = None,
        deadline: float | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """Return at most `limit` items, the newest first. `before` is `next` of the previous page."""
        return self._run(self._calls.page(limit, before, deadline, **filters))

    def items(self, *, deadline: float | None = None, **filters: Unpack[Filters]) -> Iterator[Item]:
        """Yield all items of a list. The deadline applies to each page of them."""
        before = None
        while True:
            page = self.list(limit=MOST_LISTED, before=before, deadline=deadline, **filters)
            yield from page.items
            before = page.next
            if before is None:
                return

    def counts(self, *, deadline: float | None = None) -> Counts:
        """Return how many items are unread and unseen."""
        return self._run(self._calls.counts(deadline))

    def seen(self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None) -> Marked:
        """Mark items as seen: those with these ids, or all up to a cursor, for example that of a page.

        Pass one of the two. Ids that are not in this inbox are in `Marked.unknown`.
        """
        return self._run(self._calls.act("seen", ids, up_to, deadline))

    def read(self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None) -> Marked:
        """Mark items as read and seen."""
        return self._run(self._calls.act("read", ids, up_to, deadline))

    def unread(self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None) -> Marked:
        """Mark items as unread, and unarchive them."""
        return self._run(self._calls.act("unread", ids, up_to, deadline))

    def archive(self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None) -> Marked:
        """Archive items, and mark them as read."""
        return self._run(self._calls.act("archive", ids, up_to, deadline))

    def unarchive(self, ids: Names | None = None, *, up_to: str | None = None, deadline: float | None = None) -> Marked:
        """Unarchive items."""
        return self._run(self._calls.act("unarchive", ids, up_to, deadline))

    def mutes(self, *, deadline: float | None = None) -> Mutes:
        """Return the muted types and topics."""
        return self._run(self._calls.mutes(deadline))

    def set_mutes(self, types: Names = (), topics: Names = (), *, deadline: float | None = None) -> Mutes:
        """Mute these types and topics, and no others. It applies to notifications that are published from now on."""
        return self._run(self._calls.set_mutes(types, topics, deadline))
