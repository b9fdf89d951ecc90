"""Receipts: what became of a notification with those it was for, and what would become of one."""

from collections.abc import Sequence
from typing import Any

from notifier.audience.members import Members
from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.inbox import Inbox
from notifier.protocol import channel as channels
from notifier.protocol import cursor, notification
from notifier.protocol.inbox_view import InboxState
from notifier.protocol.notification import Publication

_MOST_EXPLAINED = 100  # members of a topic


class Receipts:
    """The receipts of all notifications. Every method may raise `BrokerUnavailable`."""

    def __init__(self, store: Store, inbox: Inbox, members: Members) -> None:
        self._store = store
        self._inbox = inbox
        self._members = members

    def of(self, id: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what became of a notification on each of its channels where it is still kept."""
        commands = [
            self._store.call("find", (self._store.sharded(name),), (id, notification.time_of(id) or 0))
            for name in names
        ]
        found = zip(names, self._store.carry_out(commands, pipeline=self._store.reading), strict=True)
        return [_receipt(name, *reply) for name, reply in ((name, require(reply)) for name, reply in found) if reply]

    def explain(self, publication: Publication) -> list[dict[str, Any]]:
        """Return for each recipient what would happen if this were published now, and why."""
        names = publication.channels
        users = [name.partition(":")[2] for name in names if channels.is_user(name)]
        states = dict(zip(map(channels.of_user, users), self._inbox.states(users), strict=True))
        heard = self._heard(names)
        explained = []
        for name in names:
            outcome = _outcome(publication, name, heard[name], states.get(name))
            topic = channels.topic_of(name)
            explained.append(outcome if topic is None else outcome | self._explain_members(publication, topic))
        return explained

    def _explain_members(self, publication: Publication, topic: str) -> dict[str, Any]:
        """Return how many members a topic has, and of the first of them what would happen."""
        users = self._members.page(topic, "", _MOST_EXPLAINED)
        name = channels.of_topic(topic)
        heard = self._heard([channels.of_user(user) for user in users])
        members = []
        for user, state in zip(users, self._inbox.states(users), strict=True):
            own = channels.of_user(user)
            members.append({"user": user} | _outcome(publication, name, heard[own], state))
        return {"member_count": self._members.count([topic])[0], "members": members}

    def _heard(self, names: Sequence[str]) -> dict[str, bool]:
        """Return on which channels somebody is connected."""
        if not names:
            return {}
        keys = [self._store.sharded(name) for name in names]
        flat = require(self._store.execute([pack("PUBSUB", "SHARDNUMSUB", *keys)])[0])
        return {name: count > 0 for name, count in zip(names, flat[1::2], strict=True)}


def _receipt(channel: str, entry: bytes, kind: bytes, delivered: bytes, read: bytes, archived: bytes) -> dict[str, Any]:
    stored = notification.rfc3339(cursor.parse(entry).ms / 1000)
    names = ("delivered", "read", "archived")
    values = (delivered, read, archived)
    if channels.is_user(channel):
        times = {
            f"{name}_at": notification.rfc3339(int(ms) / 1000) if ms else None
            for name, ms in zip(names, values, strict=True)
        }
        return {"channel": channel, "stored_at": stored, **times}
    return {
        "channel": channel,
        "stored_at": stored,
        **{n: int(count or 0) for n, count in zip(names, values, strict=True)},
    }


def _outcome(publication: Publication, channel: str, online: bool, state: InboxState | None) -> dict[str, Any]:
    """Return what would happen on a channel; with a state, for this user there."""
    kept, inbox = publication.retain != "none", publication.retain == "inbox"
    muted = _muted(publication, channel, state)
    reason = muted or ("connected" if online else "offline" if kept else "not_kept_and_offline")
    return {
        "channel": channel,
        "online": online,
        "stored": kept,
        "inbox": inbox,
        "counted": inbox and not muted,
        "pushed": online and not muted,
        "reason": reason,
    }


def _muted(publication: Publication, channel: str, state: InboxState | None) -> str:
    topic = channels.topic_of(channel)
    if state is None or publication.retain != "inbox":
        return ""
    if publication.type and f"type:{publication.type}" in state.mutes:
        return "muted_type"
    return "muted_topic" if topic is not None and f"topic:{topic}" in state.mutes else ""
