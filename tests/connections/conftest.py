"""Fixtures that the tests of connections share."""

import socket
from collections.abc import Callable, Iterator

import pytest

from notifier.connections import echo, poll, sse, stream, transport, websocket
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.connections.transport import Transport
from notifier.errors import InvalidToken, TokenExpired
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.session import Action, Rules
from tests.kit.clock import Clock
from tests.kit.link import Peer, no_faults, tcp_pair

ALICE = Identity("alice", 1e12, ("news", "orders"), ("orders",))
LAG_TIMEOUT = 60

Connect = Callable[..., tuple[Transport, Peer]]


@pytest.fixture(autouse=True)
def loop_without_faults() -> Iterator[None]:
    with no_faults():
        yield


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that returns a transport and its peer. Both are closed after the test."""
    made: list[tuple[Transport, Peer]] = []

    def connect(limit: int = 1 << 20, tcp: bool = False, buffer: int = 0) -> tuple[Transport, Peer]:
        service, client = tcp_pair() if tcp else socket.socketpair()
        service.setblocking(False)
        if buffer:
            service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        made.append((Transport(service.detach(), limit), Peer(client)))
        return made[-1]

    yield connect
    for service, peer in made:
        service.abort()
        peer.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that connections go by. It stops unless a test moves it on."""
    clock = Clock(1000.0)
    for module in (echo, sse, poll, stream, transport, websocket):
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", clock)
    return clock


class Calls:
    """Hooks of stream connections that note what they are called for."""

    def __init__(self) -> None:
        self.scheduled: list[float] = []
        self.actions: list[Action] = []
        self.names: list[str] = []  # of the other hooks
        self.on_act: Callable[[StreamConnection, Action], None] = lambda connection, action: None
        self.hooks = StreamHooks(
            max_message=1000,
            lag_timeout=LAG_TIMEOUT,
            schedule=lambda connection, due: self.scheduled.append(due),
            act=self._act,
            closed=lambda connection: self.names.append("closed"),
            stop=lambda connection: self.names.append("stop"),
            drained=lambda connection: self.names.append("drained"),
            request_state=lambda connection: self.names.append("request_state"),
        )

    def _act(self, connection: StreamConnection, action: Action) -> None:
        self.actions.append(action)
        self.on_act(connection, action)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def verify(token: str, now: float) -> Identity:
    """Return the identity of a token, which is the name of a user."""
    if token == "expired":
        raise TokenExpired()
    if token == "wrong":
        raise InvalidToken()
    return ALICE._replace(user=token)


RULES = Rules(verify)


def fall_behind(connection: StreamConnection, since: Cursor | None = None) -> CatchUp:
    """Make a connection catch up on missed entries; with `since`, because its client resumes from there."""
    catch_up = CatchUp({"all": Cursor(900, 0)}, 1000)
    if since:
        catch_up.resume(["all"], since)
    connection.begin_catch_up(catch_up)
    return catch_up


def pass_time(connection: StreamConnection, clock: Clock, seconds: float) -> None:
    """Move the clock on, and call ticks as timers do."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(clock.now + 0.5, end)
        connection.tick(clock.now)
