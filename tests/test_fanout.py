"""The fan-out: what may come in between while an entry is written to many connections."""

import time
from collections.abc import Callable
from typing import Any

from notifier.connection import StreamConnection
from notifier.fanout import YIELD_EVERY
from notifier.node import Node
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.session import Session, State
from notifier.settings import ApiKey, Settings
from tests.service import API_KEY, TOKEN_SECRETS

SEEN = Cursor(1000, 0)


class Line:
    """A transport that remembers what it was to write, and calls back for it."""

    blocked_since = 0.0
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


def test_a_replay_that_ends_in_a_pause() -> None:
    """Who was sent what comes later is not sent what came before it, also if that was on its way to many."""
    keys = (ApiKey("tests", API_KEY),)
    node = Node(Settings(redis_url="redis://127.0.0.1", api_keys=keys, token_secrets=TOKEN_SECRETS))
    fan_out: Any = node._fan_out
    hub: Any = fan_out._hub
    rules: Any = node._rules

    def connection(number: int, written: Callable[[], None] = nothing) -> tuple[StreamConnection, Line]:
        session = Session(rules, time.time(), Identity(f"user-{number}", time.time() + 100))
        session.state = State.READY
        line: Any = Line(written)
        made = StreamConnection(line, node, session, number=number, max_message=1000, lag_timeout=60)
        for name in made.channels:
            hub.join(name, made)
            hub[name].confirm(SEEN)
        return made, line

    def overtake() -> None:
        hub["all"].run_ahead(late, Cursor(2001, 0))

    for number in range(YIELD_EVERY - 1):
        connection(number)
    _, last_before_the_pause = connection(YIELD_EVERY - 1, overtake)
    late, line = connection(YIELD_EVERY)
    fan_out.heard([("all", b'2000-0 1000-0 i {"id":"00000000-0000-7000-8000-000000000000","title":"E"}')])
    assert b'"title":"E"' in last_before_the_pause.data
    assert b'"title":"E"' not in line.data
