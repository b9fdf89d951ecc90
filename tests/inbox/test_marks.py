"""What a user did with single items of shared channels, on a real server."""

import time
from uuid import uuid4

import pytest

from notifier.broker.log import Append, Log
from notifier.broker.store import Store
from notifier.inbox.digests import Digests
from notifier.inbox.inbox import Inbox
from notifier.protocol import cursor, notification
from notifier.protocol.clock import Clock
from notifier.protocol.entry import NOTIFICATION
from notifier.protocol.inbox_request import Target
from notifier.settings import Settings
from tests.kit.valkey import connected, running_valkey


@pytest.mark.parametrize("action", ["seen", "read", "archive"])
def test_exceptions_of_what_is_gone(action: str) -> None:
    """Exceptions for entries that are too old for any log go when the user next does something: others stay."""
    with running_valkey() as valkey, connected(valkey) as client:
        settings = Settings(redis_url=valkey.url)
        store, clock = Store(settings), Clock()
        log, inbox = Log(settings, store, clock), Inbox(settings, store, Digests(store), clock)
        id = notification.new_id(int(time.time() * 1000), uuid4().bytes[:10])
        log.append([[Append("all", NOTIFICATION, b'{"id":"%b","title":"Hello"}' % id.encode())]], [])
        kept = f"s {int(time.time() * 1000) - 86_400_000}-0 all"
        old = f"s {int(time.time() * 1000) - inbox.lifetime - 1000}-0 all"
        key = store.of("user:alice", "shared")
        client.zadd(key, {member: cursor.parse(member.split()[1]).rank for member in (kept, old)})
        change = inbox.act("alice", action, Target((id,)))
        assert (change.changed, change.unknown) == (True, [])
        left = {member.decode() for member in client.zrange(key, 0, -1)}
        assert kept in left
        assert old not in left
        store.close()
