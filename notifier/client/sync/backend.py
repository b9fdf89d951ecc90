"""What a backend asks about its users, for threads."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, Unpack

from notifier.client.backend_calls import BackendCalls, MembersChanged
from notifier.client.calls import Steps
from notifier.client.notification import Notification
from notifier.client.receipts import Explanation, Receipt

T = TypeVar("T")


class Backend:
    """The methods of a client about users, members of topics and receipts."""

    _backend: BackendCalls

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def receipts(self, id: str, *, deadline: float | None = None) -> list[Receipt]:
        """Return what became of a notification on each of its channels where it is still kept."""
        return self._run(self._backend.receipts(id, deadline))

    def explain(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        deadline: float | None = None,
        **members: Unpack[Notification],
    ) -> list[Explanation]:
        """Return for each channel what would happen with a notification, and why. Nothing is published."""
        return self._run(self._backend.explain({**(notification or {}), **members}, deadline))

    def members(self, topic: str, *, deadline: float | None = None) -> Iterator[str]:
        """Yield the members of a topic, in the order of their names, page by page; the deadline is for each page."""
        after = None
        while True:
            page = self._run(self._backend.members(topic, after, deadline))
            yield from page.members
            after = page.next
            if after is None:
                return

    def add_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """Let a user be a member of a topic: what is published to it from now on is in their inbox."""
        self._run(self._backend.add_member(topic, user, deadline))

    def remove_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """Let a user be a member of a topic no more: what came by it leaves their inbox."""
        self._run(self._backend.remove_member(topic, user, deadline))

    def change_members(
        self, topic: str, add: Iterable[str] = (), remove: Iterable[str] = (), *, deadline: float | None = None
    ) -> MembersChanged:
        """Let any number of users be members of a topic, and others no more; the deadline is for each 1,000 of them.

        After an exception, repeat it: it takes up where it was.
        """
        return self._run(self._backend.change_members(topic, add, remove, deadline))

    def export_user(self, user: str, *, deadline: float | None = None) -> dict[str, Any]:
        """Return everything that is kept of a user; docs/http-api.md has the members."""
        return self._run(self._backend.export_user(user, deadline))

    def erase_user(self, user: str, *, deadline: float | None = None) -> None:
        """Remove everything that is kept of a user for good, and close their connections."""
        self._run(self._backend.erase_user(user, deadline))

    def disconnect_user(self, user: str, *, deadline: float | None = None) -> None:
        """Close all connections of a user; their clients stay away."""
        self._run(self._backend.disconnect_user(user, deadline))
