"""The memory of recording clients, which answers requests like a service: one inbox, members and receipts.

The clients make the same requests as real ones, and the service's own rules check them. Tokens are not read, so there
is one inbox, with the notifications to all recipients.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from notifier import __version__
from notifier.client import Item, Mutes
from notifier.client.answer import Answer, Request
from notifier.errors import BadRequest, InvalidMembers, InvalidTokenRequest, NotFound, Problem
from notifier.protocol import audit
from notifier.protocol import channel as channels
from notifier.protocol import cursor as cursors
from notifier.protocol import notification as notifications
from notifier.protocol.inbox_query import Query, read_query
from notifier.protocol.inbox_request import read_mutes, read_target
from notifier.protocol.inbox_target import Target
from notifier.protocol.notification import Limits, Publication
from notifier.protocol.notification_id import canonical_id
from notifier.protocol.request_fields import read_object
from notifier.protocol.token_policy import MAX_AGE
from notifier.protocol.token_request import read_revocation, read_token_request
from notifier.testing.key_memory import KeyMemory

URL = "http://recorded"
_MOST_IDS = 1000  # per action
_FLAGS: dict[str, dict[str, Any]] = {  # the flags that an action changes
    "seen": {"seen": True},
    "read": {"seen": True, "read": True},
    "unread": {"read": False, "archived": False},
    "archive": {"seen": True, "read": True, "archived": True},
    "unarchive": {"archived": False},
}


class Kept(NamedTuple):
    """The channels of a notification, and when it was created."""

    channels: list[str]
    created_at: str


class Memory:
    """All recorded state. `erased` and `disconnected` are users, `revoked` what was posted to revoke tokens."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}  # by notification
        self.erased: list[str] = []
        self.disconnected: list[str] = []
        self.revoked: list[dict[str, Any]] = []
        self.keys = KeyMemory()
        self._items: dict[str, Item] = {}  # by notification, the oldest first
        self._members: dict[str, set[str]] = defaultdict(set)  # by topic
        self._mutes = Mutes()
        self._revision = 0

    def keep(self, id: str, created: float, cursor: str, publication: Publication) -> None:
        """Record a publication, and add it to the inbox unless `retain` says otherwise."""
        notification = json.loads(publication.encode(id, created))
        if channels.ALL in publication.channels:
            self.keys.note(audit.BROADCAST, notification=id)
        self.kept[id] = Kept(publication.channels, notification["created_at"])
        if publication.retain == "inbox":
            channel = publication.channels[0]
            muted = self._is_muted(publication.type, channel)
            self._items[id] = Item(id, channel, cursor, notification, muted, muted, False, muted)

    def forget(self, id: str) -> None:
        """Remove a notification that is recalled."""
        self.keys.note(audit.RECALLED, notification=id)
        del self.kept[id]
        self._items.pop(id, None)

    def suppressed(self, publication: Publication, channel: str) -> str | None:
        """Return why a publication is not pushed on a channel; None: it is pushed."""
        return "muted_type" if channels.is_user(channel) and publication.type in self._mutes.types else None

    def answer(self, request: Request) -> Answer:
        """Return the answer that a service would give."""
        path, _, query = request.path.partition("?")
        parts = (request.method, *map(unquote, path.removeprefix("/v1/").split("/")))
        try:
            document, status = self._ask(parts, parse_qsl(query), request.body), 200
        except Problem as problem:
            document, status = problem.document(), problem.status
        return Answer(URL + request.path, status, {"notifier-version": "0.1"}, json.dumps(document).encode())

    def _ask(self, parts: tuple[str, ...], query: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
        match parts:
            case "GET", "inbox":
                return self._page(read_query(query))
            case "GET", "inbox", "counts":
                return self._counts()
            case "GET", "inbox", "mutes":
                return self._mutes._asdict()
            case "PUT", "inbox", "mutes":
                self._mutes = Mutes(*map(tuple, read_mutes(body)))
                self._revision += 1
                return self._mutes._asdict()
            case "POST", "inbox", action:
                return self._act(action, read_target(body, _MOST_IDS))
            case "GET", "topics", topic, "members":
                return {"members": self._of(topic), "next": None}
            case "POST", "topics", topic, "members":
                return self._change_members(topic, **read_object(body, InvalidMembers))
            case "PUT", "topics", topic, "members", user:
                return self._change_members(topic, add=[user])
            case "DELETE", "topics", topic, "members", user:
                return self._change_members(topic, remove=[user])
            case "GET", "users", user, "export":
                self.keys.note(audit.EXPORTED, user=user)
                return self._export(user)
            case "DELETE", "users", user:
                return self._erase(user)
            case "POST", "users", user, "disconnect":
                self.keys.note(audit.DISCONNECTED, user=user)
                self.disconnected.append(user)
                return {}
            case "GET", "notifications", id:
                return self._receipts(canonical_id(id))
            case "POST", "notifications":
                return {"recipients": self._explain(notifications.parse(body, Limits()))}
        return self._ask_administrator(parts, dict(query), body)

    def _ask_administrator(self, parts: tuple[str, ...], query: dict[str, str], body: bytes) -> dict[str, Any]:
        """Answer requests about tokens, keys and the audit log."""
        match parts:
            case "POST", "tokens":
                return {"token": f"token-of-{read_token_request(body, MAX_AGE).user}"}
            case "POST", "tokens", "revoke":
                read_revocation(body, time.time())
                self.revoked.append(read_object(body, InvalidTokenRequest))
                self.keys.note(audit.TOKENS_REVOKED, **self.revoked[-1])
                return self.revoked[-1]
            case "GET", "keys":
                return self.keys.page()
            case "POST", "keys":
                return self.keys.create(body)
            case "POST", "keys", id, "rotate":
                return self.keys.rotate(id, body)
            case "DELETE", "keys", id:
                return self.keys.revoke(id)
            case "GET", "audit":
                return self.keys.audit_page(query)
            case "GET", "status":
                return {"version": __version__, "workers": 1, "issuers": []}
        raise NotFound("A recording client does not support this request.")

    def _counts(self) -> dict[str, Any]:
        counted = [item for item in self._items.values() if not item.muted]
        counts = {"unread": sum(not item.read for item in counted), "unseen": sum(not item.seen for item in counted)}
        return {"counts": counts, "revision": self._revision, "expires_at": None}

    def _page(self, query: Query) -> dict[str, Any]:
        place = query.before.cursor if query.before else cursors.Cursor(1 << 62, 0)
        wanted = [item for item in reversed(self._items.values()) if _is_wanted(item, query)]
        rest = [item for item in wanted if cursors.parse(item.cursor) < place]
        page = rest[: query.limit]
        cursor = max((item.cursor for item in self._items.values()), key=cursors.parse, default="0-0")
        follow = f"{page[-1].cursor}~{page[-1].channel}" if len(rest) > len(page) else None
        return {"items": [_document(item) for item in page], "next": follow, "cursor": cursor, **self._counts()}

    def _act(self, action: str, target: Target) -> dict[str, Any]:
        ids = target.ids
        if target.up_to is not None:
            ids = tuple(id for id, item in self._items.items() if cursors.parse(item.cursor) <= target.up_to)
        known = {id: self._items[id]._replace(**_FLAGS[action]) for id in ids if id in self._items}
        changed = any(self._items[id] != item for id, item in known.items())
        self._items |= known
        self._revision += changed
        return self._counts() | {"changed": changed, "unknown": [id for id in ids if id not in known]}

    def _of(self, topic: str) -> list[str]:
        _require(channels.fault_of_topic, topic)
        return sorted(self._members[topic])

    def _change_members(
        self, topic: str, add: list[str] | None = None, remove: list[str] | None = None
    ) -> dict[str, Any]:
        before = set(self._of(topic))
        for user in (*(add or ()), *(remove or ())):
            _require(channels.fault_of_name, user)
        self.keys.note(audit.MEMBERS_CHANGED, topic=topic, add=audit.names(add or ()), remove=audit.names(remove or ()))
        kept = before - set(remove or ())
        self._members[topic] = kept | set(add or ())
        return {"added": len(self._members[topic] - kept), "removed": len(before - kept), "refused": []}

    def _export(self, user: str) -> dict[str, Any]:
        _require(channels.fault_of_name, user)
        items = [_document(item) for item in self._items.values() if item.channel == channels.of_user(user)]
        topics = sorted(topic for topic, members in self._members.items() if user in members)
        return {"user": user, "inbox": items, "history": [], "topics": topics, "mutes": self._mutes._asdict()}

    def _erase(self, user: str) -> dict[str, Any]:
        _require(channels.fault_of_name, user)
        self.keys.note(audit.ERASED, user=user)
        self._items = {id: item for id, item in self._items.items() if item.channel != channels.of_user(user)}
        for members in self._members.values():
            members.discard(user)
        self.erased.append(user)
        return {}

    def _receipts(self, id: str) -> dict[str, Any]:
        if id not in self.kept:
            raise NotFound("There is no such notification, or it is no longer stored.")
        names, stored = self.kept[id]
        receipts = [{"channel": name, "stored_at": stored, **_empty_receipt(name)} for name in names]
        return {"id": id, "channels": names, "receipts": receipts}

    def _explain(self, publication: Publication) -> list[dict[str, Any]]:
        explained = []
        for name in publication.channels:
            topic = channels.topic_of(name)
            outcome = self._outcome(publication, name)
            if topic is not None:
                members = [{"user": user, **outcome} for user in self._of(topic)]
                outcome = outcome | {"member_count": len(members), "members": members}
            explained.append(outcome)
        return explained

    def _outcome(self, publication: Publication, channel: str) -> dict[str, Any]:
        kept, inbox = publication.retain != "none", publication.retain == "inbox"
        reason = self.suppressed(publication, channel) or ("offline" if kept else "not_kept_and_offline")
        counted = inbox and reason == "offline"
        facts = {"online": False, "stored": kept, "inbox": inbox, "counted": counted, "pushed": False}
        return {"channel": channel, **facts, "reason": reason}

    def _is_muted(self, type: str, channel: str) -> bool:
        return type in self._mutes.types or channels.topic_of(channel) in self._mutes.topics


def _is_wanted(item: Item, query: Query) -> bool:
    if item.archived != (query.status == "archived") or (query.status == "unread" and item.read):
        return False
    facts = (
        (item.notification.get("type"), query.types),
        (channels.topic_of(item.channel), query.topics),
        (item.notification["severity"], query.severities),
    )
    return all(not wanted or fact in wanted for fact, wanted in facts)


def _document(item: Item) -> dict[str, Any]:
    document = item._asdict()
    del document["id"]
    return document


def _empty_receipt(channel: str) -> dict[str, Any]:
    if channels.is_user(channel):
        return {"delivered_at": None, "read_at": None, "archived_at": None}
    return {"delivered": 0, "read": 0, "archived": 0}


def _require(fault_of: Callable[[str], str | None], name: str) -> None:
    fault = fault_of(name)
    if fault:
        raise BadRequest(fault)
