"""The fan-out: what may come in between while an entry is written to many connections."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from notifier.connections.stream import StreamConnection
from notifier.delivery.fanout import YIELD_EVERY
from notifier.node import Node
from notifier.protocol.api_key import ApiKey
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.session import Rules, Session, State
from notifier.settings import Settings
from tests.kit.service import API_KEY, TOKEN_SECRETS

SEEN = Cursor(1000, 0)


class Line:
    """A transport that remembers what it was to write, and calls back for it."""

    is_blocked = False
    is_open = True

    def __init__(self, written: Callable[[], None]) -> None:
        self.data = b""
        self._written = written

    def write(self, data: bytes) -> bool:
        self.data += data
        self._written()
        return True


def nothing() -> None:
    pass


class Worker:
    """A node that runs no threads, with connections that are live."""

    def __init__(self) -> None:
        keys = (ApiKey("tests", API_KEY),)
        self._node: Any = Node(Settings.of(redis_url="redis://127.0.0.1", api_keys=keys, token_secrets=TOKEN_SECRETS))
        self._fan_out = self._node._fan_out
        self.hub = self._fan_out._hub

    def connect(self, number: int, written: Callable[[], None] = nothing) -> tuple[StreamConnection, Line]:
        unused: Any = None
        session = Session(Rules(unused), time.time(), Identity(f"user-{number}", time.time() + 100))
        session.state = State.READY
        line: Any = Line(written)
        made = StreamConnection(line, unused, session, number=number, max_message=1000, lag_timeout=60)
        for name in made.channels:
            self.hub.join(name, made)
            self.hub[name].confirm(SEEN)
        return made, line

    def lose_redis(self) -> None:
        self._fan_out.subscription_lost()

    def hear(self, id: str, previous: str, kind: str, title: str) -> None:
        body = f'{{"id":"00000000-0000-7000-8000-000000000000","title":"{title}"}}'
        self._fan_out.received([("all", f"{id} {previous} {kind} {body}".encode())])


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_a_replay_that_ends_in_a_pause(worker: Worker) -> None:
    """Who was sent what comes later is not sent what came before it, also if that was on its way to many."""

    def overtake() -> None:
        worker.hub["all"].run_ahead(late, Cursor(2001, 0), SEEN)

    for number in range(YIELD_EVERY - 1):
        worker.connect(number)
    _, last_before_the_pause = worker.connect(YIELD_EVERY - 1, overtake)
    late, line = worker.connect(YIELD_EVERY)
    worker.hear("2000-0", "1000-0", "i", "E")
    assert b'"title":"E"' in last_before_the_pause.data
    assert b'"title":"E"' not in line.data


def test_what_was_published_before_its_channel_was_confirmed(worker: Worker) -> None:
    """Who was sent it from the log is not sent it once more when it is heard; who begins with it is."""
    back, old = worker.connect(1)
    _, new = worker.connect(2)
    worker.hub["all"].run_ahead(back, SEEN, Cursor(900, 0))
    worker.hear("1000-0", "900-0", "i", "A")
    worker.hear("2000-0", "1000-0", "i", "B")
    assert [re.findall(rb'"title":"(.)"', line.data) for line in (old, new)] == [[b"B"], [b"A", b"B"]]


def test_another_server(worker: Worker) -> None:
    """After a failover ids may be earlier than what a connection was sent: they are news all the same."""
    connection, line = worker.connect(1)
    worker.hub["all"].run_ahead(connection, SEEN, SEEN)
    worker.lose_redis()
    assert connection.catch_up
    assert connection.catch_up.positions["all"] == SEEN
    connection.catch_up = None
    worker.hear("950-0", "400-0", "i", "A")
    assert b'"title":"A"' in line.data
