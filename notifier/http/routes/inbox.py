"""REST for users: their inbox. The token names the user. docs/http-api.md describes it."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, request
from werkzeug import Response

from notifier.http import body
from notifier.http.answers import json_answer, tagged_answer
from notifier.http.credentials import Credentials
from notifier.inbox.inbox import Inbox
from notifier.inbox.listing import InboxLists, describe
from notifier.inbox.mutes import mutes_of
from notifier.protocol import tenant as tenants
from notifier.protocol.inbox_query import read_query
from notifier.protocol.inbox_request import read_mutes, read_target
from notifier.protocol.inbox_state import ACTIONS

_LONGEST_ID = 160  # bytes of an id in a body, more than enough


class InboxViews:
    """The views of inboxes."""

    def __init__(
        self,
        credentials: Credentials,
        inbox: Inbox,
        lists: InboxLists,
        *,
        max_ids: int,
        max_mutes: int,
        count_action: Callable[[str], None],
    ) -> None:
        self._credentials = credentials
        self._inbox = inbox
        self._lists = lists
        self._max_ids = max_ids  # of an action
        self._max_mutes = max_mutes  # bytes of a body
        self._count_action = count_action

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint, names = Blueprint("inbox", __name__), ",".join(ACTIONS)
        routes: list[tuple[str, str, Any]] = [
            ("GET", "/v1/inbox", self.list),
            ("GET", "/v1/inbox/counts", self.counts),
            ("GET", "/v1/inbox/mutes", self.mutes),
            ("PUT", "/v1/inbox/mutes", self.set_mutes),
            ("POST", f"/v1/inbox/<any({names}):action>", self.act),
        ]
        for method, path, view in routes:
            blueprint.route(path, methods=[method], endpoint=view.__name__, provide_automatic_options=False)(view)
        blueprint.after_request(self.forbid_caching)
        return blueprint

    def forbid_caching(self, response: Response) -> Response:
        """Forbid caches to store the answer."""
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    def list(self) -> Response:
        """Return a page of the inbox."""
        user = self._user()
        listing = self._lists.page(user, read_query(request.args.items(multi=True)).scoped(tenants.of(user)))
        return tagged_answer(
            request,
            {
                "items": describe(listing.items),
                "next": None if listing.next is None else listing.next.public,
                **listing.view.summary,
            },
            {"cursor": str(listing.cursor)},
        )

    def counts(self) -> Response:
        """Return the counts of the inbox."""
        return tagged_answer(request, self._inbox.view(self._user()).summary)

    def act(self, action: str) -> Response:
        """Carry out an action on items of the inbox."""
        user, most = self._user(), self._max_ids
        text = body.read(request, _LONGEST_ID * most + 1024)
        self._count_action(user)  # before it is known whether the body is valid: to check it takes time
        target = read_target(text, most)
        change = self._inbox.act(user, action, target)
        return json_answer(change.view.summary | {"changed": change.changed, "unknown": change.unknown})

    def mutes(self) -> Response:
        """Return what the user has muted."""
        return json_answer(mutes_of(self._inbox.states([self._user()])[0].mutes))

    def set_mutes(self) -> Response:
        """Mute these types and topics, and no others."""
        user = self._user()
        text = body.read(request, self._max_mutes)
        self._count_action(user)
        types, topics = read_mutes(text)
        self._inbox.set_mutes(user, types, [tenants.scoped(tenants.of(user), topic) for topic in topics])
        return self.mutes()

    def _user(self) -> str:
        return self._credentials.require_identity(request).user
