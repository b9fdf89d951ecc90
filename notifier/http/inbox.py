"""REST for users: their inbox. The token says whose it is. `docs/http-api.md` describes it."""

import hashlib
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from notifier.audience.users import describe
from notifier.errors import PreconditionFailed
from notifier.http import body
from notifier.http.credentials import Credentials
from notifier.inbox.mutes import mutes_of
from notifier.node import Node
from notifier.protocol.inbox_query import read_query
from notifier.protocol.inbox_request import read_mutes, read_target
from notifier.protocol.inbox_view import ACTIONS

_JSON = "application/json"
_LONGEST_ID = 160  # bytes of an id in a body, more than enough
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match",
    "Access-Control-Max-Age": "7200",
}

_encode = msgspec.json.Encoder().encode


def create_inbox(node: Node) -> Blueprint:
    """Return the routes."""
    inbox, blueprint = InboxApi(node), Blueprint("inbox", __name__)
    routes: list[tuple[str, str, Any]] = [
        ("GET", "/v1/inbox", inbox.list),
        ("GET", "/v1/inbox/counts", inbox.counts),
        ("GET", "/v1/inbox/mutes", inbox.mutes),
        ("PUT", "/v1/inbox/mutes", inbox.set_mutes),
    ]
    for method, path, view in routes:
        blueprint.route(path, methods=[method], endpoint=view.__name__, provide_automatic_options=False)(view)
    names = ",".join(ACTIONS)
    blueprint.post(f"/v1/inbox/<any({names}):action>", provide_automatic_options=False)(inbox.act)
    for path in ("/v1/inbox", f"/v1/inbox/<any(counts,mutes,{names}):_>"):
        blueprint.route(path, methods=["OPTIONS"], endpoint=f"preflight of {path[9:]}")(inbox.preflight)
    blueprint.after_request(inbox.share)
    return blueprint


class InboxApi:
    """The views of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._settings = node.settings
        self._inbox = node.inbox

    def share(self, response: Response) -> Response:
        """Let pages of other origins read the answer, and nobody keep it."""
        response.headers.update(Credentials(self._node, request).sharing())
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    def preflight(self, _: str = "") -> Response:
        """Tell a browser what pages of other origins may ask."""
        return Response(status=204, headers=_PREFLIGHT)

    def list(self) -> Response:
        """Show a page of the inbox."""
        listing = self._inbox.page(self._user(), read_query(request.args.items(multi=True)))
        return _tagged(
            {
                "items": describe(listing),
                "next": None if listing.next is None else str(listing.next),
                **listing.view.summary,
            },
            {"cursor": str(listing.cursor)},
        )

    def counts(self) -> Response:
        """Show how much there is to be read and seen."""
        return _tagged(self._inbox.view(self._user()).summary)

    def act(self, action: str) -> Response:
        """Do something with items of the inbox."""
        user, most = self._user(), self._settings.max_inbox_ids
        target = read_target(body.read(request, _LONGEST_ID * most + 1024), most)
        change = self._inbox.act(user, action, target)
        return _answer(change.view.summary | {"changed": change.changed, "unknown": change.unknown})

    def mutes(self) -> Response:
        """Show what the user wants to be spared."""
        return _answer(mutes_of(self._inbox.states([self._user()])[0].mutes))

    def set_mutes(self) -> Response:
        """Spare the user these types and topics, and no others."""
        user = self._user()
        self._inbox.set_mutes(user, *read_mutes(body.read(request, self._settings.max_message_bytes)))
        return self.mutes()

    def _user(self) -> str:
        return Credentials(self._node, request).require_identity().user


def _answer(document: dict[str, Any]) -> Response:
    return Response(_encode(document), content_type=_JSON)


def _tagged(document: dict[str, Any], more: dict[str, Any] | None = None) -> Response:
    """Return an answer with a tag of what it says, or that it says nothing new (RFC 9110 section 13.1.2).

    What is in `more` changes with time alone: it is no part of the tag.

    Raises:
        PreconditionFailed: it is not what the request expects.
    """
    tag = hashlib.blake2b(_encode(document), digest_size=12).hexdigest()
    response = _answer(document | (more or {}))
    response.set_etag(tag)
    response.make_conditional(request)
    if response.status_code == PreconditionFailed.status:
        raise PreconditionFailed(headers={"ETag": response.headers["ETag"]})
    return response
