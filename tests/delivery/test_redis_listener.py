"""The listener: what Redis publishes to this worker, and what follows when it may have missed something."""

from typing import Any

import pytest

from notifier.errors import BrokerUnavailable
from notifier.inbox.states import known
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import DISCONNECT, STATE
from tests.delivery.conftest import NOW, Delivery, at
from tests.kit.turns import Turns


def message(ms: int, previous: int | None, kind: bytes, data: bytes) -> bytes:
    """Return what Redis publishes of an entry; `previous` is the time of the one before it."""
    before = b"0-0" if previous is None else str(at(previous)).encode()
    return b" ".join((str(at(ms)).encode(), before, kind, data))


class TestMessages:
    def test_groups(self, delivery: Delivery) -> None:
        """Entries of one channel that arrive together are one write, whatever lies between them."""
        _, line = delivery.live(("news",))
        writes: list[bytes] = []
        line.on_write = lambda: writes.append(line.data)
        arrived = [
            (name, delivery.logs.append(name, ms, title))
            for ms, (name, title) in enumerate([("all", "A"), ("topic:news", "B"), ("all", "C")], 1)
        ]
        delivery.listener.received(arrived)
        assert len(writes) == 2
        assert line.titles == "ACB"

    def test_far_apart(self, delivery: Delivery) -> None:
        """Entries of two channels change places only if they are close to each other in time."""
        _, line = delivery.live(("news",))
        arrived = [
            (name, delivery.logs.append(name, ms, title))
            for ms, name, title in [(1, "all", "A"), (2, "topic:news", "B"), (2000, "all", "C")]
        ]
        delivery.listener.received(arrived)
        assert line.titles == "ABC"

    @pytest.mark.parametrize("data", [b"", b"1-0", b"1-0 0-0 n", b"x 0-0 n {}", b"\xff\xff", b"lost x", b"lost 1-0 x"])
    def test_no_entry(self, delivery: Delivery, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
        """A message that is not an entry is named in the log, and the messages after it are delivered."""
        _, line = delivery.live()
        delivery.listener.received([("all", data), ("all", delivery.logs.append("all", 1, "A"))])
        assert line.titles == "A"
        assert "to all" in caplog.text

    def test_state(self, delivery: Delivery) -> None:
        """A state is passed to the feed, after the entries that were published before it."""
        connection, line = delivery.live()
        own = connection.channels[0]
        delivery.feed.calls.clear()
        delivery.listener.received(
            [
                ("all", delivery.logs.append("all", 1, "A")),
                (own, message(1, None, STATE, b'{"action":"read"}')),
                ("all", delivery.logs.append("all", 2, "B")),
            ]
        )
        assert delivery.feed.calls == ["received all 1", f'changed {own} {{"action":"read"}}', "received all 1"]
        assert (line.titles, connection.catch_up) == ("AB", None)

    def test_a_user_without_a_connection(self, delivery: Delivery) -> None:
        """A state of a user who has no connection here changes nothing."""
        delivery.live()
        delivery.feed.calls.clear()
        delivery.listener.received([("user:nobody", message(1, None, STATE, b"{}"))])
        assert delivery.feed.calls == []

    def test_disconnect(self, delivery: Delivery) -> None:
        """A disconnect closes all connections of its user, once, and no others."""
        (connection, _), (other, _) = delivery.live(), delivery.live()
        own = connection.channels[0]
        command = (own, message(1, None, DISCONNECT, b"%d api" % NOW))
        delivery.listener.received([command])
        assert (connection.is_open, other.is_open) == (False, True)
        delivery.hub.join(own, other)
        delivery.listener.received([command])
        assert other.is_open

    def test_many_connections(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        """While many connections of a user are closed, other threads have their turns."""
        turns, lines = Turns(monkeypatch), [delivery.live() for _ in range(20)]
        own = lines[0][0].channels[0]
        for connection, line in lines:
            delivery.hub.join(own, connection)
            line.on_write = turns.work
        delivery.listener.received([(own, message(1, None, DISCONNECT, b"%d api" % NOW))])
        assert not any(connection.is_open for connection, _ in lines)
        assert turns.count >= 20

    def test_erasure(self, delivery: Delivery) -> None:
        """After an erasure, the worker has no entry of the user in memory, and the next entry is not a gap."""
        connection, _ = delivery.live()
        own = connection.channels[0]
        delivery.publish(own, 1, "A")
        delivery.publish(own, 2, "B")
        assert delivery.recent.page(own, at(1), str(at(2)).encode(), NOW)
        delivery.hub.join(own, delivery.live()[0])
        delivery.listener.received([(own, message(2, None, DISCONNECT, b"%d erased" % at(2).ms))])
        channel = delivery.hub[own]
        assert channel.last == Cursor(0, 0)
        assert delivery.recent.page(own, at(1), str(at(2)).encode(), NOW) is None
        assert not known(channel).has_filters


class TestSubscription:
    def test_names(self, delivery: Delivery) -> None:
        """The worker subscribes to its own heartbeat and to all channels in the hub."""
        delivery.connect(("news",))
        assert delivery.listener.wanted_channels() == ["nodes", "user:user-1", "all", "topic:news"]

    def test_lost(self, delivery: Delivery) -> None:
        """When the subscription is lost, all connections are served from the logs, also by what was published then."""
        connection, line = delivery.live()
        delivery.publish("all", 1, "A")
        delivery.listener.subscription_lost()
        assert not delivery.listener.is_receiving
        delivery.logs.append("all", 2, "B")
        delivery.publish("all", 3, "C")
        assert line.titles == "A"
        delivery.listener.subscribed(delivery.listener.wanted_channels())
        delivery.replay()
        assert (line.titles, connection.catch_up) == ("ABC", None)

    def test_missed(self, delivery: Delivery) -> None:
        """The feed is told which channels have entries that were not received: they may change counts."""
        delivery.live(("news",))
        delivery.publish("all", 1, "A")
        delivery.listener.subscription_lost()
        delivery.logs.append("topic:news", 2, "B")
        delivery.feed.calls.clear()
        delivery.listener.subscribed(delivery.listener.wanted_channels())
        assert delivery.feed.calls == ["subscribed user:user-1", "subscribed all", "subscribed topic:news has missed"]

    def test_memory(self, delivery: Delivery) -> None:
        """When the subscription is lost, the memory of recent entries is dropped: later entries may follow a gap."""
        connection, _ = delivery.live()
        delivery.publish("all", 1, "A")
        delivery.publish("all", 2, "B")
        assert delivery.recent.page("all", at(1), str(at(2)).encode(), NOW)
        delivery.listener.subscription_lost()
        assert delivery.recent.page("all", at(1), str(at(2)).encode(), NOW) is None

    def test_the_clock(self, delivery: Delivery) -> None:
        """The clock of the worker is not behind the end of a log."""
        delivery.logs.append("all", 5000, "A")
        delivery.connect()
        delivery.confirm()
        assert delivery.clock.ms >= at(5000).ms

    def test_a_log_that_lost_its_end(self, delivery: Delivery) -> None:
        """If a log no longer has what this worker has seen, the loss is recorded, as after a failover."""
        delivery.live()
        delivery.publish("all", 1, "A")
        delivery.publish("all", 2, "B")
        del delivery.logs.entries["all"][1]
        delivery.reconnect()
        assert delivery.logs.regressions == [("all", at(2))]

    def test_a_log_that_went_on(self, delivery: Delivery) -> None:
        """If a log has more than this worker has seen, its floor decides."""
        delivery.live()
        delivery.publish("all", 1, "A")
        delivery.logs.append("all", 2, "B")
        delivery.logs.floors["all"] = at(1)
        delivery.reconnect()
        assert delivery.logs.regressions == []

    def test_a_log_that_cannot_be_read(self, delivery: Delivery) -> None:
        """A channel is subscribed to even if its log cannot be read, and others are served."""
        connection, _ = delivery.connect(("news",))
        delivery.logs.faulty["topic:news"] = BrokerUnavailable("a wrong type")
        delivery.confirm()
        assert delivery.progress.is_subscribed(connection)

    def test_nothing_before_the_first_heartbeat(self, delivery: Delivery) -> None:
        """The worker sends a heartbeat once it is subscribed, and serves no connection before that has arrived."""
        connection, _ = delivery.connect()
        delivery.listener.subscribed(delivery.listener.wanted_channels())
        assert delivery.database.beats == 1
        assert not delivery.progress.is_subscribed(connection)
        delivery.listener.received([("nodes", b"worker %d" % NOW)])
        delivery.replay()
        assert connection.session.is_welcome


class TestEnds:
    def test_compared(self, delivery: Delivery) -> None:
        """With a heartbeat, the worker looks for what it had appended before the store connected again."""
        compared: list[str] = []

        def note_lost_ends() -> int:
            compared.append("once")
            return 1

        delivery.logs.note_lost_ends = note_lost_ends
        delivery.listener.heartbeat.beat()
        assert not compared
        delivery.logs.may_have_lost_ends = True
        delivery.listener.heartbeat.beat()
        assert compared == ["once"]

    def test_refused(self, delivery: Delivery) -> None:
        """If a loss cannot be recorded, for example because Redis has no memory, there is a heartbeat all the same."""

        def refuse() -> int:
            raise BrokerUnavailable("no memory")

        delivery.logs.may_have_lost_ends, delivery.logs.note_lost_ends = True, refuse
        delivery.listener.heartbeat.beat()
        assert delivery.database.beats == 1


class TestBirth:
    def test_another_database(self, delivery: Delivery) -> None:
        """When the database is another one, every connection is notified of losses in all of its channels."""
        delivery.database.born = at(-9)
        delivery.listener.wanted_channels()
        connection, line = delivery.live(("news",))
        delivery.database.born = at(0)
        delivery.listener.wanted_channels()  # a heartbeat asks, too: no subscription need be lost
        delivery.replay()
        (lost,) = line.frames("lost")
        assert lost["channels"] == connection.channels

    def test_the_same_database(self, delivery: Delivery) -> None:
        """A new connection to the same database loses nothing."""
        delivery.database.born = at(-9)
        delivery.listener.wanted_channels()
        _, line = delivery.live()
        delivery.reconnect()
        delivery.replay()
        assert line.frames("lost") == []


def test_idle_channels(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker unsubscribes from channels some time after their last connection, and from no others."""
    left: list[str] = []
    connection, _ = delivery.live(("news",))
    subscriber: Any = delivery.listener._subscriber
    monkeypatch.setattr(subscriber, "unsubscribe", left.append)
    delivery.subscriptions.close(connection)
    delivery.listener.forget_idle()
    assert left == []
    monkeypatch.setattr("notifier.delivery.redis_listener._LINGER", -1)
    delivery.live()
    delivery.listener.forget_idle()
    assert left == ["user:user-1", "topic:news"]
    assert delivery.feed.calls[-2:] == ["left user:user-1", "left topic:news"]
