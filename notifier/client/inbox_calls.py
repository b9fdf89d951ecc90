"""The calls of an inbox, without I/O, as in `notifier.client.calls`."""

from dataclasses import dataclass
from typing import TypedDict

from notifier.client.answer import JSON, Request
from notifier.client.calls import Calls, Steps, query_of
from notifier.client.checks import Names, names_of
from notifier.client.inbox import (
    Action,
    Counts,
    Marked,
    Mutes,
    Page,
    Status,
    read_counts,
    read_marked,
    read_mutes,
    read_page,
)
from notifier.client.notification import encode

MOST_LISTED = 100  # items of a page
_INBOX = "/v1/inbox"
_PART = "inbox"  # older services do not have it


class Filters(TypedDict, total=False):
    """Which items a list contains.

    `status` is "unread", "archived", or "all", the default, which excludes archived items. `type`, `topic` and
    `severity` are one name, or several of which an item must have one.
    """

    status: Status
    type: Names
    topic: Names
    severity: Names


@dataclass(frozen=True)
class InboxCalls:
    """The calls to the inbox of the user of a token."""

    calls: Calls
    token: str

    def page(
        self,
        limit: int,
        before: str | None,
        deadline: float | None,
        *,
        status: Status = "all",
        type: Names = (),
        topic: Names = (),
        severity: Names = (),
    ) -> Steps[Page]:
        """Return a page."""
        filters = {name: names_of(names) for name, names in (("type", type), ("topic", topic), ("severity", severity))}
        query = query_of({"status": status, "limit": limit, "before": before, **filters})
        request = Request("GET", f"{_INBOX}?{query}", self._headers())
        return read_page((yield from self.calls.ask(request, deadline, _PART)).json())

    def counts(self, deadline: float | None) -> Steps[Counts]:
        """Return the counts of the inbox."""
        request = Request("GET", f"{_INBOX}/counts", self._headers())
        return read_counts((yield from self.calls.ask(request, deadline, _PART)).json())

    def act(self, action: Action, ids: Names | None, up_to: str | None, deadline: float | None) -> Steps[Marked]:
        """Carry out an action on items. The service rejects a call with neither or both of `ids` and `up_to`."""
        given = {"ids": None if ids is None else names_of(ids), "up_to": up_to}
        target = {name: value for name, value in given.items() if value is not None}
        request = Request("POST", f"{_INBOX}/{action}", self._headers() | {"Content-Type": JSON}, encode(target))
        return read_marked((yield from self.calls.ask(request, deadline, _PART)).json())

    def mutes(self, deadline: float | None) -> Steps[Mutes]:
        """Return the muted types and topics."""
        request = Request("GET", f"{_INBOX}/mutes", self._headers())
        return read_mutes((yield from self.calls.ask(request, deadline, _PART)).json())

    def set_mutes(self, types: Names, topics: Names, deadline: float | None) -> Steps[Mutes]:
        """Mute these types and topics, and no others."""
        body = encode({"types": names_of(types), "topics": names_of(topics)})
        request = Request("PUT", f"{_INBOX}/mutes", self._headers() | {"Content-Type": JSON}, body)
        return read_mutes((yield from self.calls.ask(request, deadline, _PART)).json())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}
