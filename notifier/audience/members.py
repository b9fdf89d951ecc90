"""Members: who has a topic in their inbox without subscribing to it. Backends keep them."""

from collections.abc import Sequence
from typing import NamedTuple

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.inbox import Alteration, Inbox
from notifier.protocol import channel as channels
from notifier.settings import Settings


class Added(NamedTuple):
    """How many users have become members, and who is a member of too many topics already."""

    added: int
    refused: list[str]


class Members:
    """The members of all topics: each topic has a list of them, and each of them has the topic."""

    def __init__(self, settings: Settings, store: Store, inbox: Inbox) -> None:
        self._settings = settings
        self._store = store
        self._inbox = inbox

    def add(self, topic: str, users: Sequence[str]) -> Added:
        """Let users be members, from what is published next on. Who is one already stays one since then."""
        if not users:
            return Added(0, [])
        logged = self._store.ask("HGET", self._store.of(channels.of_topic(topic), "meta"), "logged")
        since = (logged or b"0-0").decode()
        # First the list: who is in it without having the topic is added by a retry.
        self._store.ask("ZADD", self._key(topic), *(part for user in users for part in (0, user)))
        most = self._settings.max_memberships
        results = self._inbox.alter([Alteration(user, "topics", {topic: since}, most=most) for user in users])
        refused = [user for user, (added, _) in zip(users, results, strict=True) if added < 0]
        self._enlist(topic, users)
        return Added(sum(added for added, _ in results if added > 0), refused)

    def remove(self, topic: str, users: Sequence[str]) -> int:
        """Let users be members no more; return how many were."""
        if not users:
            return 0
        results = self._inbox.alter([Alteration(user, "topics", remove=(topic,)) for user in users])
        self._enlist(topic, users)
        return sum(removed for _, removed in results)

    def page(self, topic: str, after: str, limit: int) -> list[str]:
        """Return so many members, in the order of their names, those that come after a name."""
        begin = f"({after}" if after else "-"
        found = self._store.ask("ZRANGEBYLEX", self._key(topic), begin, "+", "LIMIT", 0, limit)
        return [name.decode() for name in found]

    def count(self, topics: Sequence[str]) -> list[int]:
        """Return how many members topics have."""
        return [require(reply) for reply in self._store.execute([pack("ZCARD", self._key(topic)) for topic in topics])]

    def _enlist(self, topic: str, users: Sequence[str]) -> None:
        """Let the list say who has the topic, also where others change the same at this moment."""
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
