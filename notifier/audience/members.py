"""Members: the users who get a topic into their inbox without subscribing to it. Backends add and remove them."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.alteration import Alter, Alteration
from notifier.protocol import channel as channels
from notifier.protocol import cursor, name_ranges
from notifier.protocol.api_key import ANY
from notifier.settings import InboxSettings

_RANGES = 100  # of names that are read at a time: far less than a millisecond in Redis


class Added(NamedTuple):
    """How many users have become members, and which users have reached the limit on topic memberships."""

    added: int
    refused: list[str]


class Members:
    """The members of all topics. A topic has a list of its members, and each user has the topics.

    Every method may raise `BrokerUnavailable`.
    """

    def __init__(self, settings: InboxSettings, store: Store, alter: Alter) -> None:
        self._settings = settings
        self._store = store
        self._alter = alter

    def add(self, topic: str, users: Sequence[str]) -> Added:
        """Make users members, from the next publication on. Existing members keep their earlier beginning."""
        if not users:
            return Added(0, [])
        # After a loss of entries, all that comes is later than when that was found: nothing is lost to new members.
        ends = self._store.ask("HMGET", self._store.of(channels.of_topic(topic), "meta"), "logged", "found")
        since = str(max(cursor.parse(end or b"0-0") for end in ends))
        # The list comes first: if this fails halfway, a retry adds the topic to users who are only in the list.
        self._store.ask("ZADD", self._key(topic), *(part for user in users for part in (0, user)))
        most = self._settings.max_memberships
        results = self._alter([Alteration(user, "topics", {topic: since}, most=most) for user in users])
        refused = [user for user, (added, _) in zip(users, results, strict=True) if added < 0]
        self._correct_list(topic, users)
        return Added(sum(added for added, _ in results if added > 0), refused)

    def remove(self, topic: str, users: Sequence[str]) -> int:
        """Remove users from the members; return how many were members."""
        if not users:
            return 0
        results = self._alter([Alteration(user, "topics", remove=(topic,)) for user in users])
        self._correct_list(topic, users)
        return sum(removed for _, removed in results)

    def would_change(self, topic: str, add: Sequence[str], remove: Sequence[str]) -> bool:
        """Return whether any of these users is not yet, or still is, a member; also if the topic's list is wrong."""
        users = [*add, *remove]
        having = self._having(topic, users)
        listed = self._store.ask("ZMSCORE", self._key(topic), *users)
        is_listed = dict(zip(users, (score is not None for score in listed), strict=True))
        return any(not (having[user] and is_listed[user]) for user in add) or any(
            having[user] or is_listed[user] for user in remove
        )

    def page(self, topic: str, after: str, limit: int, patterns: tuple[str, ...] = ANY) -> list[str]:
        """Return up to `limit` members after a name that patterns grant, sorted by name. No others are read."""
        key, bounds, found = self._key(topic), name_ranges.bounds_of(patterns, after), list[bytes]()
        while len(found) < limit and (some := list(itertools.islice(bounds, _RANGES))):
            call = self._store.call("members", (key,), (limit - len(found), *itertools.chain.from_iterable(some)))
            found += require(self._store.carry_out([call], pipeline=self._store.reading)[0])
        return [name.decode() for name in found]

    def count(self, topics: Sequence[str]) -> list[int]:
        """Return how many members topics have."""
        return [require(reply) for reply in self._store.execute([pack("ZCARD", self._key(topic)) for topic in topics])]

    def _correct_list(self, topic: str, users: Sequence[str]) -> None:
        """Make the list agree with the users, also while another worker changes the same members."""
        found = self._having(topic, users)
        while found:
            commands = [
                pack("ZADD" if has else "ZREM", self._key(topic), *([0] if has else []), user)
                for user, has in found.items()
            ]
            self._store.tell(commands)
            now = self._having(topic, list(found))
            found = {user: has for user, has in now.items() if has != found[user]}

    def _having(self, topic: str, users: Sequence[str]) -> dict[str, bool]:
        keys = [self._store.of(channels.of_user(user), "topics") for user in users]
        replies = self._store.execute([pack("HEXISTS", key, topic) for key in keys])
        return {user: bool(require(reply)) for user, reply in zip(users, replies, strict=True)}

    def _key(self, topic: str) -> str:
        return self._store.of(channels.of_topic(topic), "members")
