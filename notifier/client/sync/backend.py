"""The calls of a backend about users, members and receipts, for threads."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, Unpack

from notifier.client.backend_calls import BackendCalls, MembersChanged
from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.notification import Notification
from notifier.client.receipts import Explanation, Receipt

T = TypeVar("T")


class Backend:
    """The methods of a client about users, members of topics and receipts."""

    _backend: BackendCalls

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def receipts(self, id: str, *, deadline: float | None = None) -> list[Receipt]:
        """Return the receipts of a notification, one for each of its channels that still stores it."""
        return self._run(self._backend.receipts(id, deadline))

    def explain(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> list[Explanation]:
        """Return for each channel what would happen to a notification, and why. Nothing is published."""
        return self._run(self._backend.explain({**(notification or {}), **fields}, deadline))

    def members(self, topic: str, *, deadline: float | None = None) -> Iterator[str]:
        """Yield the members of a topic, sorted by name. The deadline applies to each page of them."""
        after = None
        while True:
            page = self._run(self._backend.members(topic, after, deadline))
            yield from page.members
            after = page.next
            if after is None:
                return

    def add_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """Add a member to a topic: notifications that are published to it from now on are in the user's inbox."""
        self._run(self._backend.add_member(topic, user, deadline))

    def remove_member(self, topic: str, user: str, *, deadline: float | None = None) -> None:
        """Remove a member from a topic: its notifications disappear from the user's inbox."""
        self._run(self._backend.remove_member(topic, user, deadline))

    def change_members(
        self, topic: str, add: Names = (), remove: Names = (), *, deadline: float | None = None
    ) -> MembersChanged:
        """Add and remove members of a topic: one name each, or several. The deadline applies to each 1,000 of them.

        After an exception, repeat the call: changes that are already made do no harm.
        """
        return self._run(self._backend.change_members(topic, add, remove, deadline))

    def export_user(self, user: str, *, deadline: float | None = None) -> dict[str, Any]:
        """Return everything that is stored about a user; docs/http-api.md has the fields."""
        return self._run(self._backend.export_user(user, deadline))

    def erase_user(self, user: str, *, deadline: float | None = None) -> None:
        """Remove everything that is stored about a user permanently, and close the user's connections."""
        self._run(self._backend.erase_user(user, deadline))

    def disconnect_user(self, user: str, *, revoke: bool = False, deadline: float | None = None) -> None:
        """Close all connections of a user. The clients do not reconnect.

        `revoke`: then revoke the tokens that the user has, so that nobody connects with them again.
        """
        self._run(self._backend.disconnect_user(user, deadline, revoke))

    def create_token(
        self,
        user: str,
        *,
        topics: Names = (),
        publish: Names = (),
        expires_in: int | None = None,
        deadline: float | None = None,
    ) -> str:
        """Return a new token for a user. `expires_in` is in seconds, by default one hour."""
        return self._run(self._backend.create_token(user, topics, publish, expires_in, deadline))

    def revoke_tokens(self, user: str, *, issued_before: float | None = None, deadline: float | None = None) -> None:
        """Revoke the tokens of a user that were issued before a time in Unix seconds, by default until now.

        Connections that use them are closed; their clients fetch a new token and reconnect.
        """
        self._run(self._backend.revoke_tokens(user, issued_before, deadline))

    def revoke_token(self, jti: str, *, deadline: float | None = None) -> None:
        """Revoke the token with this `jti`, and close the connections that use it."""
        self._run(self._backend.revoke_token(jti, deadline))
