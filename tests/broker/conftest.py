"""Fixtures of the broker's tests: a real server, and workers that share it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Log
from notifier.protocol.clock import Clock
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.broker import Broker, Listener, Make, broker_of
from tests.kit.valkey import running_valkey
from tests.kit.waiting import DEADLINE


@pytest.fixture
def make(valkey: EmbeddedValkey) -> Iterator[Make]:
    """Makes the broker of another worker, with settings of its own."""
    with contextlib.ExitStack() as stack:

        def make(clock: Clock | None = None, **settings: Any) -> Broker:
            settings.setdefault("redis_timeout", DEADLINE)
            broker = broker_of(BrokerSettings(redis_url=valkey.url, **settings), clock or Clock())
            stack.callback(broker.store.close)
            return broker

        yield make


@pytest.fixture
def log(make: Make) -> Log:
    """The logs, as one worker uses them."""
    return make().log


@pytest.fixture
def keys(make: Make) -> IdempotencyKeys:
    """The idempotency keys, as one worker uses them."""
    return make().keys


@pytest.fixture
def user() -> str:
    """The channel of a user that no other test has."""
    return f"user:{uuid4()}"


@pytest.fixture
def topic() -> str:
    """The channel of a topic that no other test has."""
    return f"topic:{uuid4()}"


@pytest.fixture
def mortal() -> Iterator[EmbeddedValkey]:
    """A server of one test, which may kill it."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def listen(valkey: EmbeddedValkey) -> Iterator[Callable[[str], Listener]]:
    """Makes listeners."""
    listeners = []

    def listen(channel: str) -> Listener:
        listeners.append(Listener(valkey.url, channel))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.close()
