"""Explanations: what would happen to a publication, for each recipient, and why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from notifier.audience.members import Members
from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.inbox import Inbox
from notifier.loop import in_turns
from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants
from notifier.protocol.notification import Publication

_MOST_EXPLAINED = 100  # members of a topic
_MOST_MEMBERS = 1000  # of all topics of a notification


class Explanation:
    """Explains publications, and publishes nothing."""

    def __init__(self, store: Store, inbox: Inbox, members: Members) -> None:
        self._store = store
        self._inbox = inbox
        self._members = members

    def of(
        self,
        publication: Publication,
        shows: Callable[[str], bool] = lambda user: True,
        count: Callable[[int], None] = lambda inboxes: None,
    ) -> list[dict[str, Any]]:
        """Return what would happen on each channel if this were published now.

        `shows` returns whether a member of a topic may be named. `count` is called before inboxes are read, with their
        number; it may raise a problem.

        Raises:
            BrokerUnavailable
        """
        names = publication.channels
        users = [name.partition(":")[2] for name in names if channels.is_user(name)]
        count(len(names))
        mutes = dict(zip(map(channels.of_user, users), self._inbox.mutes(users), strict=True))
        online = self._online(names)
        explained, left = [], _MOST_MEMBERS
        for name in in_turns(names):
            outcome = _outcome(publication, name, online[name], mutes.get(name, {}))
            topic = channels.topic_of(name)
            if topic is not None:
                listed = list(filter(shows, self._members.page(topic, "", min(_MOST_EXPLAINED, left))))
                count(len(listed))
                left -= len(listed)
                outcome["member_count"] = self._members.count([topic])[0]
                outcome["members"] = self._explain_members(publication, name, listed)
            explained.append(outcome)
        return explained

    def _explain_members(self, publication: Publication, topic: str, users: list[str]) -> list[dict[str, Any]]:
        """Return what would happen for some members of a topic, which is named as a channel."""
        online = self._online([channels.of_user(user) for user in users])
        return [
            {"user": tenants.outward(user)} | _outcome(publication, topic, online[channels.of_user(user)], mutes)
            for user, mutes in in_turns(zip(users, self._inbox.mutes(users), strict=True))
        ]

    def _online(self, names: Sequence[str]) -> dict[str, bool]:
        """Return which of these channels have subscribers."""
        if not names:
            return {}
        keys = [self._store.sharded(name) for name in names]
        [flat] = self._store.execute([pack("PUBSUB", "SHARDNUMSUB", *keys)], pipeline=self._store.reading)
        return {name: count > 0 for name, count in zip(names, require(flat)[1::2], strict=True)}


def _outcome(publication: Publication, channel: str, online: bool, mutes: Mapping[str, int]) -> dict[str, Any]:
    """Return what would happen on a channel, for a user with these mutes."""
    stored, inbox = publication.retain != "none", publication.retain == "inbox"
    muted = _muted(publication, channel, mutes)
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


def _muted(publication: Publication, channel: str, mutes: Mapping[str, int]) -> str:
    """Return which mute of the user applies; empty: none does."""
    topic = channels.topic_of(channel)
    if publication.retain != "inbox":
        return ""
    if publication.type and f"type:{publication.type}" in mutes:
        return "muted_type"
    return "muted_topic" if topic is not None and f"topic:{topic}" in mutes else ""
