"""The node: what it has to load before it serves clients, and whose connections it closes."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.broker.revocation_list import Revoked
from notifier.connections.stream import StreamConnection
from notifier.errors import Disconnect, TokenRevoked
from notifier.node import Node
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.settings import Settings
from tests.kit.turns import Turns


class Held(StreamConnection):
    """A connection of a user, without a socket, that takes a moment to close."""

    def __init__(self, user: str, turns: Turns) -> None:
        self.session: Any = SimpleNamespace(identity=Identity(user, 1e10))
        self.closed: list[Disconnect] = []
        self.turns = turns

    def close(self, disconnect: Disconnect) -> None:
        self.closed.append(disconnect)
        self.turns.work()


@pytest.mark.parametrize("missing", ["revocations", "API keys", "subscription"])
def test_loading(missing: str) -> None:
    """A node that has reached Redis is loading until it has everything. One that has not waits for nothing."""
    node = Node(Settings.of(redis_url="redis://localhost", token_secrets=("s" * 40,)))
    listener, access = node._delivery.listener, node.access
    assert not node.is_loading
    listener.birth = Cursor(1, 0)
    listener.heartbeat._received_at = time.monotonic()
    access.revocations.is_loaded = missing != "revocations"
    access.api_keys.is_loaded = missing != "API keys"
    listener._is_subscribed = missing != "subscription"
    assert node.is_loading
    access.revocations.is_loaded = access.api_keys.is_loaded = listener._is_subscribed = True
    assert not node.is_loading


def test_many_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections of a user whose tokens are revoked are closed, no others, and other threads have their turns."""
    node = Node(Settings.of(redis_url="redis://localhost", token_secrets=("s" * 40,)))
    turns = Turns(monkeypatch)
    revoked, others = [Held("alice", turns) for _ in range(20)], [Held("bob", turns) for _ in range(20)]
    node.connections.update(revoked, others)
    answers = [(1, [Revoked("user:alice", 1e9, 2e9)]), (1, [])]
    monkeypatch.setattr("notifier.broker.revocation_list.RevocationList.since", lambda *_: answers.pop(0))
    node.access.revocations.update()
    assert all([type(each) for each in held.closed] == [TokenRevoked] for held in revoked)
    assert not any(held.closed for held in others)
    assert turns.count >= 20
