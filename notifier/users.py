"""Users: everything that is kept of one, to be told, erased, or cut off."""

import time
from typing import Any

import msgspec

from notifier.inbox import Inbox, Listing
from notifier.members import Members
from notifier.protocol import channel as channels
from notifier.protocol import notification
from notifier.protocol.inbox_query import MAX_LIMIT, Query
from notifier.protocol.replay import DISCONNECT, ERASED, HISTORY, REMOVED
from notifier.store import Store, require
from notifier.wire import pack

_CUT_KEPT = 3_600_000  # ms: a worker that did not hear of it has learned it by then
_KEYS = ("log", "meta", "collapse", "inbox", "expiring", "twins", "seen", "read", "archived", "shared", "state")
_PAGE = 500  # entries of a log at once


class Users:
    """All users. Every method may raise `BrokerUnavailable`."""

    def __init__(self, store: Store, inbox: Inbox, members: Members) -> None:
        self._store = store
        self._inbox = inbox
        self._members = members

    def disconnect(self, user: str) -> None:
        """Close all connections of a user, on all workers."""
        self._cut_off(user, b"disconnected")

    def _cut_off(self, user: str, why: bytes) -> None:
        channel = channels.of_user(user)
        now = int(time.time() * 1000)
        self._store.tell(
            [
                pack("SET", self._store.of(channel, "cut"), now, "PX", _CUT_KEPT),
                pack("SPUBLISH", self._store.sharded(channel), b"0-0 0-0 %b %d %b" % (DISCONNECT, now, why)),
            ]
        )

    def erase(self, user: str) -> None:
        """Remove everything of a user, and close their connections.

        What was cut off may be repeated: what names other keys goes before the keys that name it.
        """
        channel = channels.of_user(user)
        for topic in self._inbox.standings([user])[0].topics:
            self._members.remove(topic, [user])
        entries = self._log(channel)
        ids = [body.decode() if kind == REMOVED else notification.id_of(body) for _, kind, body in entries]
        self._erase_records(channel, ids)
        names = [self._store.of(channel, what) for what in (*_KEYS, "topics", "mutes", "receipts")]
        marks = [self._store.of(channel, f"mark:{id}") for id in ids]
        self._store.tell([pack("DEL", *names, *marks)])
        self._cut_off(user, ERASED)

    def export(self, user: str) -> dict[str, Any]:
        """Return everything that is kept of a user, as `docs/http-api.md` describes it."""
        channel = channels.of_user(user)
        standing = self._inbox.standings([user])[0]
        history = [body for _, kind, body in self._log(channel) if kind == HISTORY]
        return {
            "user": user,
            "inbox": [item for status in ("all", "archived") for item in self._items(user, status)],
            "history": [msgspec.Raw(body) for body in history],
            "topics": sorted(standing.topics),
            "mutes": mutes_of(standing.mutes),
        }

    def _items(self, user: str, status: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        query = Query(status, MAX_LIMIT)
        while True:
            listing = self._inbox.page(user, query)
            items += describe(listing)
            if listing.next is None:
                return items
            query = query._replace(before=listing.next)

    def _log(self, channel: str) -> list[tuple[bytes, bytes, bytes]]:
        """Return the entries of a log: id, kind, body."""
        found: list[tuple[bytes, bytes, bytes]] = []
        start = b"-"
        while True:
            page = self._store.ask("XRANGE", self._store.of(channel, "log"), start, "+", "COUNT", _PAGE)
            found += [(id, fields[0], fields[1]) for id, fields in page]
            if len(page) < _PAGE:
                return found
            start = b"(" + page[-1][0]

    def _erase_records(self, channel: str, ids: list[str]) -> None:
        """Let no notification say any more that it went to a channel."""
        keys = [self._store.key("notification", id) for id in ids]
        records = self._store.execute([pack("GET", key) for key in keys])
        commands = []
        for key, record in zip(keys, records, strict=True):
            names = msgspec.json.decode(require(record) or b"[]", type=list[str])
            rest = [name for name in names if name != channel]
            commands.append(pack("SET", key, msgspec.json.encode(rest), "XX", "KEEPTTL") if rest else pack("DEL", key))
        self._store.tell(commands)


def describe(listing: Listing) -> list[dict[str, Any]]:
    """Return the items of a page as they go out."""
    return [
        {
            "cursor": str(item.cursor),
            "channel": item.channel,
            "notification": msgspec.Raw(item.body),
            **item.flags._asdict(),
        }
        for item in listing.items
    ]


def mutes_of(mutes: Any) -> dict[str, list[str]]:
    """Return what a user has muted, as it goes out."""
    parted = sorted(name.split(":", 1) for name in mutes)
    return {
        "types": [name for kind, name in parted if kind == "type"],
        "topics": [name for kind, name in parted if kind == "topic"],
    }
