"""Turns: clients with much to handle take turns, and sockets are polled in between."""

from notifier.connections.turns import Turns
from tests.connections.conftest import Connect
from tests.kit.link import until


def test_order() -> None:
    """Each client has its turn in order; a client that asks again goes to the end of the queue."""
    turns = Turns()
    seen: list[str] = []

    def take(name: str, more: int) -> None:
        seen.append(name)
        if more:
            turns.add(take, name, more - 1)

    turns.add(take, "a", 2)
    turns.add(take, "b", 1)
    turns.add(take, "c", 0)
    until(lambda: len(seen) == 6)
    assert seen == ["a", "b", "c", "a", "b", "a"]
    assert not turns._waiting


def test_sockets_come_in_between(connect: Connect) -> None:
    """Between two turns every socket is read, however many wait for a turn."""
    turns = Turns()
    seen: list[str] = []
    transport, peer = connect()

    class Owner:
        def on_bytes(self, data: bytes) -> None:
            seen.extend("r" * len(data))

        def on_drained(self) -> None: ...

        def on_end(self) -> None: ...

    def take() -> None:
        seen.append("t")
        peer.send(b"x")

    transport.start(Owner(), b"")
    for _ in range(20):
        turns.add(take)
    until(lambda: seen.count("r") == 20)
    assert "ttt" not in "".join(seen), "of a step of the loop, the turn may come before the sockets"
