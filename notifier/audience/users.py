"""Users: exporting and erasing everything that is stored about one, and disconnecting one."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from notifier.audience.members import Members
from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.inbox import Inbox
from notifier.inbox.listing import InboxLists, describe
from notifier.inbox.mutes import mutes_of
from notifier.protocol import channel as channels
from notifier.protocol import notification
from notifier.protocol import tenant as tenants
from notifier.protocol.entry import ERASED, HISTORY, REMOVED

_REMEMBERED = 3_600_000  # ms: by then every worker has learned of a disconnection, even one that missed the message
_PAGE, _PAGE_BYTES = 100, 65536  # of a log per request: entries, and bytes after which ten at most follow


class Users:
    """All users. Every method may raise `BrokerUnavailable`."""

    def __init__(self, store: Store, inbox: Inbox, lists: InboxLists, members: Members) -> None:
        self._store = store
        self._inbox = inbox
        self._lists = lists
        self._members = members

    def disconnect(self, user: str) -> None:
        """Close all connections of a user, on all workers."""
        self._call("disconnect", user, b"disconnected")

    def erase(self, user: str) -> None:
        """Remove everything that is stored about a user, and close the user's connections.

        An erasure that failed halfway can be repeated: keys elsewhere that name the user are changed before the user's
        own keys, which lead to them, are removed. Notifications and memberships that were added meanwhile are found
        when the user's keys are removed.
        """
        channel = channels.of_user(user)
        self._forget(user, self._inbox.states([user])[0].topics, self._ids(channel))
        ids, topics = self._call("erase", user, ERASED)
        self._forget(user, (topic.decode() for topic in topics), [id.decode() for id in ids])

    def export(self, user: str) -> dict[str, Any]:
        """Return everything that is stored about a user, as `docs/http-api.md` describes it.

        The two lists of notifications are iterators, which read a few at a time and yield them as lists: all of them
        together may be hundreds of megabytes.
        """
        state = self._inbox.states([user])[0]
        return {
            "user": tenants.outward(user),
            "inbox": map(describe, self._lists.everything(user)),
            "history": self._history(channels.of_user(user)),
            "topics": sorted(map(tenants.outward, state.topics)),
            "mutes": mutes_of(state.mutes),
        }

    def _history(self, channel: str) -> Iterator[list[msgspec.Raw]]:
        for page in self._log(channel):
            yield [msgspec.Raw(body) for kind, body in page if kind == HISTORY]

    def _call(self, script: str, user: str, why: bytes) -> Any:
        command = self._store.call(script, (self._store.sharded(channels.of_user(user)),), (why, _REMEMBERED))
        return require(self._store.carry_out([command])[0])

    def _log(self, channel: str) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield kind and body of all entries of a log, a page at a time."""
        keys = self._store.of(channel, "log"), self._store.of(channel, "meta")
        position, is_complete = b"0-0", 0
        while not is_complete:
            command = self._store.call("read", keys, (position, _PAGE, _PAGE_BYTES))
            *_, is_complete, page = require(self._store.carry_out([command], pipeline=self._store.reading)[0])
            yield [(fields[0], fields[1]) for _, fields in page]
            position = page[-1][0] if page else position

    def _ids(self, channel: str) -> list[str]:
        """Return the ids of the notifications in a log."""
        entries = (entry for page in self._log(channel) for entry in page)
        return [body.decode() if kind == REMOVED else notification.id_of(body) for kind, body in entries]

    def _forget(self, user: str, topics: Iterable[str], ids: list[str]) -> None:
        """Remove a user from topics, and from the records of notifications."""
        for topic in topics:
            self._members.remove(topic, [user])
        self._erase_records(channels.of_user(user), ids)

    def _erase_records(self, channel: str, ids: list[str]) -> None:
        """Remove a channel from the records of notifications."""
        keys = [self._store.key("notification", id) for id in ids]
        records = self._store.execute([pack("GET", key) for key in keys])
        commands = []
        for key, record in zip(keys, records, strict=True):
            names = msgspec.json.decode(require(record) or b"[]", type=list[str])
            rest = [name for name in names if name != channel]
            commands.append(pack("SET", key, msgspec.json.encode(rest), "XX", "KEEPTTL") if rest else pack("DEL", key))
        self._store.tell(commands)
