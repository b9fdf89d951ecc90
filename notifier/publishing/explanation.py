"""Explanations: what would happen to a publication, for each recipient, and why."""

from collections.abc import Callable, Sequence
from typing import Any

from notifier.audience.members import Members
from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.inbox import Inbox
from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants
from notifier.protocol.inbox_state import InboxState
from notifier.protocol.notification import Publication

_MOST_EXPLAINED = 100  # members of a topic


class Explanation:
    """Explains publications, and publishes nothing."""

    def __init__(self, store: Store, inbox: Inbox, members: Members) -> None:
        self._store = store
        self._inbox = inbox
        self._members = members

    def of(self, publication: Publication, shows: Callable[[str], bool] = lambda user: True) -> list[dict[str, Any]]:
        """Return what would happen on each channel if this were published now.

        `shows` returns whether a member of a topic may be named.

        Raises:
            BrokerUnavailable
        """
        names = publication.channels
        users = [name.partition(":")[2] for name in names if channels.is_user(name)]
        states = dict(zip(map(channels.of_user, users), self._inbox.states(users), strict=True))
        online = self._online(names)
        explained = []
        for name in names:
            outcome = _outcome(publication, name, online[name], states.get(name))
            topic = channels.topic_of(name)
            explained.append(outcome if topic is None else outcome | self._explain_members(publication, topic, shows))
        return explained

    def _explain_members(self, publication: Publication, topic: str, shows: Callable[[str], bool]) -> dict[str, Any]:
        """Return how many members a topic has, and what would happen for the first of them."""
        users = list(filter(shows, self._members.page(topic, "", _MOST_EXPLAINED)))
        name = channels.of_topic(topic)
        online = self._online([channels.of_user(user) for user in users])
        members = []
        for user, state in zip(users, self._inbox.states(users), strict=True):
            own = channels.of_user(user)
            members.append({"user": tenants.outward(user)} | _outcome(publication, name, online[own], state))
        return {"member_count": self._members.count([topic])[0], "members": members}

    def _online(self, names: Sequence[str]) -> dict[str, bool]:
        """Return which of these channels have subscribers."""
        if not names:
            return {}
        keys = [self._store.sharded(name) for name in names]
        flat = require(self._store.execute([pack("PUBSUB", "SHARDNUMSUB", *keys)])[0])
        return {name: count > 0 for name, count in zip(names, flat[1::2], strict=True)}


def _outcome(publication: Publication, channel: str, online: bool, state: InboxState | None) -> dict[str, Any]:
    """Return what would happen on a channel; with the state of an inbox: for its user on this channel."""
    stored, inbox = publication.retain != "none", publication.retain == "inbox"
    muted = _muted(publication, channel, state)
    reason = muted or ("connected" if online else "offline" if stored else "not_kept_and_offline")
    return {
        "channel": tenants.public(channel),
        "online": online,
        "stored": stored,
        "inbox": inbox,
        "counted": inbox and not muted,
        "pushed": online and not muted,
        "reason": reason,
    }


def _muted(publication: Publication, channel: str, state: InboxState | None) -> str:
    """Return which mute of the user applies; empty: none does."""
    topic = channels.topic_of(channel)
    if state is None or publication.retain != "inbox":
        return ""
    if publication.type and f"type:{publication.type}" in state.mutes:
        return "muted_type"
    return "muted_topic" if topic is not None and f"topic:{topic}" in state.mutes else ""
