"""The fan-out: who is written what, and what may come in between while an entry is written to many connections."""

import pytest

from notifier.connections.timers import YIELD_EVERY
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import EPHEMERAL, HISTORY, NOTIFICATION, REMOVED, Entry
from notifier.protocol.inbox_state import NOTHING
from notifier.protocol.subscribing import Join
from tests.delivery.conftest import NOW, Delivery, at, body


def entries(*titles: str) -> list[Entry]:
    """Return entries, a ms apart, that begin with the first of a log."""
    ids = [b"0-0", *(str(at(ms)).encode() for ms in range(1, len(titles) + 1))]
    return [Entry(ids[i + 1], ids[i], NOTIFICATION, body(title)) for i, title in enumerate(titles)]


def test_everybody(delivery: Delivery) -> None:
    """All live connections of the channel receive all entries in order, and other connections receive none."""
    lines = [delivery.live(("news",))[1] for _ in range(3)]
    _, other = delivery.live()
    delivery.fan_out.send_all({"topic:news": entries("A", "B"), "topic:unknown": entries("C")})
    assert [line.titles for line in (*lines, other)] == ["AB", "AB", "AB", ""]
    assert delivery.hub["topic:news"].delivered == delivery.hub["topic:news"].seen == str(at(2)).encode()
    assert delivery.feed.calls[-1] == "received topic:news 2"


def test_a_client_that_does_not_read(delivery: Delivery) -> None:
    """A connection that takes nothing is served from the log, from what it was sent last."""
    connection, line = delivery.live()
    delivery.publish("all", 1, "A")
    line.room = 0
    delivery.publish("all", 2, "B")
    delivery.publish("all", 3, "C")
    assert connection.catch_up and connection.catch_up.positions["all"] == at(1)
    line.room = None
    connection.on_drained()
    delivery.replay()
    delivery.publish("all", 4, "D")
    assert line.titles == "ABCD"


def test_a_client_that_takes_a_part(delivery: Delivery) -> None:
    """Of several writes, the connection goes on after the last one that it took."""
    connection, line = delivery.live()
    line.room = 1
    many = [entry._replace(body=body(entry.body[-3:-2].decode()) + b" " * 40_000) for entry in entries("A", "B", "C")]
    delivery.fan_out.send_all({"all": many})
    assert line.titles == "A"
    assert connection.catch_up and connection.catch_up.positions["all"] == at(1)


def test_a_gap(delivery: Delivery) -> None:
    """When the entry before was not received, all connections of the channel are served from the log."""
    connection, line = delivery.live()
    _, other = delivery.live(("news",))
    delivery.publish("all", 1, "A")
    delivery.logs.append("all", 2, "B")
    delivery.publish("all", 3, "C")
    assert (line.titles, connection.catch_up is None) == ("A", False)
    delivery.replay()
    delivery.publish("all", 4, "D")
    assert (line.titles, other.titles) == ("ABCD", "ABCD")


def test_muted(delivery: Delivery) -> None:
    """A connection is not sent what its user has muted."""
    connection, line = delivery.live(("news",))
    _, other = delivery.live(("news",))
    delivery.mutes.update(connection, NOTHING._replace(mutes={"topic:news": NOW}))
    delivery.publish("topic:news", 1, "A")
    delivery.publish("all", 2, "B")
    assert (line.titles, other.titles) == ("B", "AB")


def test_no_echo(delivery: Delivery) -> None:
    """A connection is not sent what it publishes itself, if it wants no echo."""
    connection, line = delivery.live(("news",))
    stranger, _ = delivery.live()
    _, other = delivery.live(("news",))
    for member in (connection, stranger):
        delivery.fan_out.skip(f"00000000-0000-7000-8000-{ord('A'):012}", "topic:news", member)
    delivery.fan_out.send_all({"topic:news": entries("A", "B")})
    delivery.publish("topic:news", 9, "A")
    assert (line.titles, other.titles) == ("BA", "ABA")


def test_while_it_catches_up(delivery: Delivery) -> None:
    """Entries for a connection that catches up are put aside, without those that it must not receive."""
    connection, line = delivery.connect(("news",))
    delivery.confirm()
    delivery.fan_out.skip(f"00000000-0000-7000-8000-{ord('B'):012}", "topic:news", connection)
    for ms, title in enumerate("ABC", 1):
        delivery.publish("topic:news", ms, title, EPHEMERAL)
    assert line.titles == ""
    delivery.replay()
    assert line.titles == "AC"


def test_kinds(delivery: Delivery) -> None:
    """History is sent like a notification; a removal names the notification."""
    _, line = delivery.live()
    delivery.publish("all", 1, "A", HISTORY)
    delivery.listener.received([("all", b"%b %b %b an-id" % (str(at(2)).encode(), str(at(1)).encode(), REMOVED))])
    assert line.titles == "A"
    assert [frame["id"] for frame in line.frames("removed")] == ["an-id"]


def test_a_replay_that_ends_in_a_pause(delivery: Delivery) -> None:
    """A connection that was sent a later entry is not sent an earlier one, even if that is on its way to many."""

    def overtake() -> None:
        delivery.hub["all"].run_ahead(late, at(2), at(0))

    lines = [delivery.live()[1] for _ in range(YIELD_EVERY)]
    late, line = delivery.live()
    lines[-1].on_write = overtake
    delivery.publish("all", 1, "A")
    assert (lines[-1].titles, line.titles) == ("A", "")
    delivery.publish("all", 3, "C")
    assert line.titles == "C"


def test_a_connection_that_subscribes_in_a_pause(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that begins to catch up on another channel during a fan-out is not sent the entry again."""
    connections = [delivery.live() for _ in range(YIELD_EVERY + 1)]
    (first, line), (_, late) = connections[0], connections[-1]

    def subscribe() -> None:
        for connection, _ in (connections[0], connections[-1]):
            delivery.subscriptions.join(connection, Join(None, "news", None))

    monkeypatch.setattr("notifier.delivery.fanout.give_way", subscribe)
    delivery.publish("all", 1, "A")
    delivery.confirm()
    delivery.replay()
    assert first.catch_up is None
    assert (line.titles, late.titles) == ("A", "A")


def test_muted_while_it_catches_up(delivery: Delivery) -> None:
    """Mutes apply when an entry is sent, also to one that was put aside and is no longer in the log."""
    connection, line = delivery.live(("news",))
    delivery.mutes.update(connection, NOTHING._replace(mutes={"topic:news": NOW}))
    delivery.progress.hold(connection)
    delivery.publish("topic:news", 1, "A")
    delivery.logs.entries.clear()
    delivery.recent.clear()
    delivery.mutes.update(connection, NOTHING)
    delivery.replay()
    assert (line.titles, connection.catch_up) == ("A", None)


def test_a_connection_that_leaves_in_a_pause(delivery: Delivery) -> None:
    """A connection that leaves the channel during a pause is sent nothing further."""
    lines = [delivery.live()[1] for _ in range(YIELD_EVERY)]
    late, line = delivery.live()
    lines[-1].on_write = lambda: delivery.subscriptions.close(late)
    delivery.publish("all", 1, "A")
    assert line.titles == ""


def test_what_was_published_before_its_channel_was_confirmed(delivery: Delivery) -> None:
    """A connection that was sent an entry from the log is not sent it again when it is received; a new one is."""
    (ahead, old), (_, new) = delivery.live(), delivery.live()
    channel = delivery.hub["all"]
    channel.run_ahead(ahead, at(1), Cursor(NOW - 9, 0))
    delivery.publish("all", 1, "A")
    delivery.publish("all", 2, "B")
    assert (old.titles, new.titles) == ("B", "AB")


def test_another_server(delivery: Delivery) -> None:
    """After a failover ids may be lower than what a connection was sent: those entries are still sent."""
    connection, line = delivery.live()
    delivery.publish("all", 9, "A")
    delivery.hub["all"].run_ahead(connection, at(9), at(0))
    delivery.reconnect()
    delivery.replay()
    assert connection.catch_up is None
    delivery.listener.received([("all", b"%b %b i %b" % (str(at(5)).encode(), str(at(4)).encode(), body("B")))])
    assert line.titles == "AB"
