"""The calls of a backend about users, members and receipts, without I/O, as in `notifier.client.calls`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from notifier.client.answer import JSON, Request
from notifier.client.calls import NOTIFICATIONS, Calls, Steps, query_of, quoted
from notifier.client.checks import Names, checked_topic, checked_user, names_of
from notifier.client.notification import encode
from notifier.client.receipts import Explanation, Receipt, read_explanation, read_receipt

_MOST_MEMBERS = 1000  # of a request or a page: the default limit of a service
# Parts that older services do not have.
_MEMBERS, _USERS, _RECEIPTS, _EXPLAIN = "members of topics", "calls for users", "receipts", "explanations"
_TOKENS = "tokens"


class MembersChanged(NamedTuple):
    """How many users became members of a topic, and how many are no longer members.

    `refused` are users that did not become members, because they have reached the limit on topic memberships.
    """

    added: int = 0
    removed: int = 0
    refused: tuple[str, ...] = ()


class MembersPage(NamedTuple):
    """A page of the members of a topic. Pass `next` as `after` to get the next page; it is None on the last page."""

    members: tuple[str, ...]
    next: str | None


@dataclass(frozen=True)
class BackendCalls:
    """The calls of a backend about its users. All of them are idempotent."""

    calls: Calls

    def members(self, topic: str, after: str | None, deadline: float | None) -> Steps[MembersPage]:
        """Return a page of the members of a topic: those after the name `after`."""
        query = query_of({"limit": _MOST_MEMBERS, "after": after})
        answer = yield from self._ask("GET", f"{_path_of(topic)}?{query}", deadline, _MEMBERS)
        return MembersPage(tuple(answer["members"]), answer["next"])

    def add_member(self, topic: str, user: str, deadline: float | None) -> Steps[None]:
        """Add a member to a topic."""
        yield from self._ask("PUT", f"{_path_of(topic)}/{quoted(checked_user(user))}", deadline, _MEMBERS)

    def remove_member(self, topic: str, user: str, deadline: float | None) -> Steps[None]:
        """Remove a member from a topic."""
        yield from self._ask("DELETE", f"{_path_of(topic)}/{quoted(checked_user(user))}", deadline, _MEMBERS)

    def change_members(self, topic: str, add: Names, remove: Names, deadline: float | None) -> Steps[MembersChanged]:
        """Remove and then add members of a topic, in as many requests as it takes."""
        total = MembersChanged()
        changes = [*_changes("remove", names_of(remove)), *_changes("add", names_of(add))]
        for change in changes:
            answer = yield from self._ask("POST", _path_of(topic), deadline, _MEMBERS, change)
            refused = (*total.refused, *answer["refused"])
            total = MembersChanged(total.added + answer["added"], total.removed + answer["removed"], refused)
        return total

    def export_user(self, user: str, deadline: float | None) -> Steps[dict[str, Any]]:
        """Return everything that is stored about a user."""
        return (yield from self._ask("GET", f"{_path_of_user(user)}/export", deadline, _USERS))

    def erase_user(self, user: str, deadline: float | None) -> Steps[None]:
        """Remove everything that is stored about a user."""
        yield from self._ask("DELETE", _path_of_user(user), deadline, _USERS)

    def disconnect_user(self, user: str, deadline: float | None, revoke: bool = False) -> Steps[None]:
        """Close all connections of a user; `revoke`: then revoke the tokens that the user has."""
        yield from self._ask("POST", f"{_path_of_user(user)}/disconnect", deadline, _USERS)
        if revoke:
            yield from self.revoke_tokens(user, None, deadline)

    def create_token(
        self,
        user: str,
        topics: Names,
        publish: Names,
        expires_in: int | None,
        deadline: float | None,
    ) -> Steps[str]:
        """Return a new token for a user."""
        asked: dict[str, Any] = {"user": user, "topics": names_of(topics), "publish": names_of(publish)}
        if expires_in is not None:
            asked["expires_in"] = expires_in
        answer = yield from self._ask("POST", "/v1/tokens", deadline, _TOKENS, asked)
        return str(answer["token"])

    def revoke_tokens(self, user: str, issued_before: float | None, deadline: float | None) -> Steps[None]:
        """Revoke the tokens of a user that were issued before a time, by default until now."""
        asked: dict[str, Any] = {"user": user}
        if issued_before is not None:
            asked["issued_before"] = issued_before
        yield from self._ask("POST", "/v1/tokens/revoke", deadline, _TOKENS, asked)

    def revoke_token(self, jti: str, deadline: float | None) -> Steps[None]:
        """Revoke one token."""
        yield from self._ask("POST", "/v1/tokens/revoke", deadline, _TOKENS, {"jti": jti})

    def receipts(self, id: str, deadline: float | None) -> Steps[list[Receipt]]:
        """Return the receipts of a notification."""
        request = Request("GET", f"{NOTIFICATIONS}/{quoted(id)}", self.calls.headers())
        answer = yield from self.calls.ask(request, deadline)
        document = answer.json()
        if "receipts" not in document:
            raise answer.too_old(_RECEIPTS)
        return [read_receipt(receipt) for receipt in document["receipts"]]

    def explain(self, notification: Mapping[str, Any], deadline: float | None) -> Steps[list[Explanation]]:
        """Return what would happen to a notification on each of its channels."""
        body = encode(notification)
        yield from self._require_explanations(deadline)
        request = Request("POST", f"{NOTIFICATIONS}?dry_run=explain", self.calls.headers(JSON), body)
        answer = yield from self.calls.ask(request, deadline, _EXPLAIN)
        return [read_explanation(recipient) for recipient in answer.json()["recipients"]]

    def _require_explanations(self, deadline: float | None) -> Steps[None]:
        """Reject an older service: it would not explain the notification, but publish it.

        Raises:
            TooOld, ProblemError
        """
        answer = yield from self.calls.answer(Request("GET", "/v1/inbox/counts", {}), deadline)
        answer.check_sender()
        if answer.status == 404:  # newer services answer 401: there is no token
            raise (yield from self.calls.absence(answer, _EXPLAIN, deadline))

    def _ask(
        self, method: str, path: str, deadline: float | None, part: str, document: Mapping[str, Any] | None = None
    ) -> Steps[dict[str, Any]]:
        body = b"" if document is None else encode(document)
        request = Request(method, path, self.calls.headers(None if document is None else JSON), body)
        answer = yield from self.calls.ask(request, deadline, part)
        return dict(answer.json()) if answer.status in (200, 201) else {}


def _path_of(topic: str) -> str:
    return f"/v1/topics/{quoted(checked_topic(topic))}/members"


def _path_of_user(user: str) -> str:
    return f"/v1/users/{quoted(checked_user(user))}"


def _changes(field: str, users: Sequence[str]) -> Iterator[dict[str, Sequence[str]]]:
    """Yield the bodies of the requests that name all of the users."""
    for first in range(0, len(users), _MOST_MEMBERS):
        yield {field: users[first : first + _MOST_MEMBERS]}
