"""The replayer: connections are welcomed, sent what they missed, and become live; a fault costs one connection only."""

from typing import Any

import pytest

from notifier.delivery.encoding import FRAME
from notifier.errors import BrokerUnavailable, Disconnect, Overloaded, UnexpectedFault
from notifier.protocol.entry import EXPIRED, MUTED
from notifier.protocol.inbox_state import NOTHING
from notifier.protocol.subscribing import Join
from tests.delivery.conftest import NOW, Delivery, at, body


class TestWelcome:
    def test_first(self, delivery: Delivery) -> None:
        """The welcome comes first, then what was missed."""
        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        assert line.data == b""
        delivery.replay()
        assert connection.catch_up is None
        (welcome,) = line.frames("welcome")
        assert (welcome["connection"], welcome["user"]) == ("worker-1", "user-1")
        assert line.data.index(b'"welcome"') < line.data.index(b'"title":"A"')

    def test_not_before_the_worker_is_subscribed(self, delivery: Delivery) -> None:
        """A connection waits until all of its channels are confirmed, and the first heartbeat is received."""
        connection, line = delivery.connect(("news",))
        delivery.listener.subscribed(["user:user-1", "all"])
        delivery.listener.received([("nodes", b"worker %d" % NOW)])
        delivery.replay()
        assert line.data == b""
        delivery.listener.subscribed(["topic:news"])
        delivery.replay()
        assert connection.session.is_welcome

    def test_topics_of_the_user(self, delivery: Delivery) -> None:
        """A topic that the user is a member of is subscribed to before the welcome."""
        delivery.feed.topics["user-1"] = {"news": at(0)}
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.replay()
        assert (line.data, delivery.asked) == (b"", ["topic:news"])
        delivery.logs.append("topic:news", 1, "A")
        delivery.confirm()
        delivery.replay()
        assert connection.session.is_welcome
        assert line.titles == "A"

    def test_replies_that_waited(self, delivery: Delivery) -> None:
        """Replies to what a client asks before its welcome follow the welcome."""
        connection, line = delivery.connect()
        connection.reply(b'{"type":"pong"}')
        assert line.data == b""
        delivery.confirm()
        delivery.replay()
        assert line.data.index(b'"welcome"') < line.data.index(b'"pong"')

    def test_a_subscription_is_confirmed_at_the_end(self, delivery: Delivery) -> None:
        """`ok` follows what the topic replays."""
        connection, line = delivery.live()
        delivery.logs.append("topic:news", 1, "A")
        delivery.subscriptions.join(connection, Join("r1", "news", at(0)))
        delivery.confirm()
        assert line.data == b""
        delivery.replay()
        assert line.data.index(b'"title":"A"') < line.data.index(b'"ok"')


class TestPages:
    def test_many_pages(self, delivery: Delivery) -> None:
        """A log that is longer than a page is read to its end."""
        delivery.logs.page = 2
        for ms, title in enumerate("ABCDE", 1):
            delivery.logs.append("all", ms, title)
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.replay(2)
        assert (line.titles, connection.catch_up is None) == ("ABCD", False)
        delivery.replay()
        assert (line.titles, connection.catch_up is None) == ("ABCDE", True)

    def test_shared_pages(self, delivery: Delivery) -> None:
        """A connection whose page ends before its position is served once the others have come nearer."""
        delivery.logs.page = 2
        for ms, title in enumerate("ABCDE", 1):
            delivery.logs.append("all", ms, title)
        (_, behind), (near, line) = delivery.connect(since=0), delivery.connect(since=4)
        delivery.confirm()
        delivery.replay()
        assert (behind.titles, line.data) == ("AB", b"")
        delivery.replay(5)
        assert (behind.titles, line.titles, near.catch_up) == ("ABCDE", "E", None)

    def test_live_entries_meanwhile(self, delivery: Delivery) -> None:
        """An entry that is received while the log is read follows the log's entries, once."""
        delivery.logs.append("all", 1, "A")
        _, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.on_read = lambda: delivery.publish("all", 2, "B")
        delivery.replay()
        delivery.logs.on_read = lambda: None
        delivery.publish("all", 3, "C")
        assert line.titles == "ABC"

    def test_a_channel_that_comes_meanwhile(self, delivery: Delivery) -> None:
        """A read is void if the connection subscribes to a topic during it: both channels are sent in order."""
        delivery.logs.append("all", 2, "B")
        delivery.logs.append("topic:news", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.on_read = lambda: delivery.subscriptions.join(connection, Join(None, "news", at(0)))
        delivery.replay()
        delivery.logs.on_read = lambda: None
        assert line.data == b""
        delivery.confirm()
        delivery.replay()
        assert line.titles == "AB"

    def test_a_channel_that_is_lost_meanwhile(self, delivery: Delivery) -> None:
        """A connection does not go live while the worker is not subscribed to all of its channels."""
        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.on_read = lambda: delivery.hub["all"].lose_subscription()
        delivery.replay()
        delivery.logs.on_read = lambda: None
        assert (line.titles, connection.catch_up is None) == ("A", False)
        delivery.logs.append("all", 2, "B")
        delivery.listener.subscribed(["all"])
        delivery.replay(2)
        assert (line.titles, connection.catch_up) == ("AB", None)

    def test_lost_entries(self, delivery: Delivery) -> None:
        """Channels that have lost entries are named in the welcome, and later in a frame."""
        delivery.logs.append("all", 9, "A")
        delivery.logs.floors["all"] = at(5)
        connection, line = delivery.connect(since=1)
        delivery.confirm()
        delivery.replay()
        assert line.frames("welcome")[0]["lost"] == ["all"]
        delivery.logs.floors["topic:news"] = at(5)
        delivery.subscriptions.join(connection, Join("r1", "news", at(1)))
        delivery.confirm()
        delivery.replay()
        assert line.frames("lost")[0]["channels"] == ["topic:news"]


class TestFilters:
    def test_unknown(self, delivery: Delivery) -> None:
        """Nothing is sent while memberships and mutes are unknown."""
        delivery.logs.append("all", 1, "A")
        _, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.feed.version = None
        delivery.replay()
        assert line.data == b""
        delivery.feed.version = 2
        delivery.replay()
        assert line.titles == "A"

    def test_a_change_meanwhile(self, delivery: Delivery) -> None:
        """Entries that were read before memberships or mutes changed are read again."""

        def mute() -> None:
            delivery.feed.version = 2
            delivery.mutes.update(connection, NOTHING._replace(mutes={"type:a": NOW}))
            delivery.logs.on_read = lambda: None

        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.on_read = mute
        delivery.replay()
        assert line.data == b""
        delivery.replay()
        assert line.titles == "A"

    def test_outdated(self, delivery: Delivery) -> None:
        """Entries that were read from a log are not sent if memberships or mutes have changed in Redis by then."""
        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.feed.on_read = lambda: {connection}
        delivery.replay()
        assert line.data == b""
        delivery.feed.on_read = set
        delivery.replay()
        assert line.titles == "A"

    def test_held(self, delivery: Delivery) -> None:
        """When a user's mutes change, their connections are sent nothing until the mutes are known."""
        connection, line = delivery.live()
        delivery.feed.version = None
        delivery.listener.received([(connection.channels[0], b'0-0 0-0 s {"action":"mutes"}')])
        delivery.publish("all", 1, "A")
        delivery.replay()
        assert connection.catch_up is not None
        assert line.titles == ""
        delivery.feed.version = 2
        delivery.replay()
        delivery.publish("all", 2, "B")
        assert (line.titles, connection.catch_up) == ("AB", None)


class TestSlowClients:
    def test_a_socket_that_blocks(self, delivery: Delivery) -> None:
        """A connection that takes nothing more goes on after the last entry that it took."""
        connection, line = delivery.connect(since=0)
        for ms, title in enumerate("ABC", 1):
            entry = delivery.logs.append("all", ms, title)
            delivery.logs.entries["all"][-1] = delivery.logs.entries["all"][-1]._replace(body=entry[-60:] + b" " * 9000)
        line.room = 2  # the welcome, and one chunk
        delivery.confirm()
        delivery.replay()
        assert (line.titles, connection.catch_up is None) == ("A", False)
        delivery.publish("all", 4, "D")
        delivery.replay()
        assert line.titles == "A"
        line.room = None
        connection.on_drained()
        delivery.replay(3)
        assert (line.titles, connection.catch_up) == ("ABCD", None)

    def test_blocked_at_the_end(self, delivery: Delivery) -> None:
        """A connection whose socket is full goes live only when it is writable again."""
        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        line.room = 2  # the welcome, and the entry
        delivery.confirm()
        delivery.replay()
        assert (line.titles, connection.catch_up is None) == ("A", False)
        line.room = None
        connection.on_drained()
        delivery.replay()
        assert connection.catch_up is None


class TestTurns:
    def test_a_topic_that_comes_with_the_welcome(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that is subscribed to another topic while its view is read waits for that topic."""
        connection, line = delivery.connect()
        delivery.confirm()
        views = delivery.feed.views

        def enroll(connections: Any) -> Any:
            delivery.subscriptions.enroll(connection, {"news": at(0)})
            return views(connections)

        monkeypatch.setattr(delivery.feed, "views", enroll)
        delivery.replay()
        assert (line.data, connection.is_open) == (b"", True)
        delivery.confirm()
        delivery.replay()
        assert connection.session.is_welcome

    def test_others_have_their_turn(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other threads run after each connection for which something was read."""
        turns: list[None] = []
        delivery.logs.append("all", 1, "A")
        for _ in range(3):
            delivery.connect(since=0)
        delivery.confirm()
        monkeypatch.setattr("notifier.delivery.replayer.give_way", lambda: turns.append(None))
        delivery.replay()
        assert len(turns) == 3

    def test_the_end_of_a_replay(self, delivery: Delivery) -> None:
        """A client that resumes learns up to where it has everything."""
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.replay()
        (ping,) = line.frames("ping")
        assert ping["cursor"] == str(delivery.progress.reached)


class TestFaults:
    @pytest.mark.parametrize("place", ["_read", "_serve"])
    def test_one_connection(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        """A connection with which a round fails is closed. Those before and after it are served."""
        connections = [delivery.connect()[0] for _ in range(3)]
        delivery.confirm()
        work = getattr(delivery.replayer, place)
        closed: list[Disconnect] = []

        def fail(served: Any, *others: Any) -> Any:
            if served is connections[1] or (isinstance(served, list) and connections[1] in served):
                raise ZeroDivisionError
            return work(served, *others)

        monkeypatch.setattr(delivery.replayer, place, fail)
        monkeypatch.setattr(type(connections[1]), "close", lambda _, disconnect: closed.append(disconnect))
        delivery.replay()
        assert [each.session.is_welcome for each in connections] == [True, False, True]
        assert [type(each) for each in closed] == [UnexpectedFault]

    def test_a_log_that_cannot_be_read(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        """The connection is closed so that its client reconnects later, whatever its other logs have."""
        delivery.logs.append("all", 1, "A")
        connection, _ = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.faulty["all"] = BrokerUnavailable("a wrong type")
        closed: list[Disconnect] = []
        monkeypatch.setattr(type(connection), "close", lambda _, disconnect: closed.append(disconnect))
        delivery.replay()
        assert [type(each) for each in closed] == [Overloaded]
        assert not connection.session.is_welcome

    def test_without_redis(self, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
        """While Redis cannot be reached, connections wait, and are served afterwards."""
        monkeypatch.setattr("notifier.delivery.replayer._PAUSE", 0)
        delivery.logs.append("all", 1, "A")
        connection, line = delivery.connect(since=0)
        delivery.confirm()
        delivery.logs.is_down = True
        delivery.replay()
        assert (connection.is_open, line.data) == (True, b"")
        delivery.logs.is_down = False
        delivery.replay()
        assert line.titles == "A"


class TestCount:
    """Bytes that count against the limit of replayed bytes."""

    def test_sent(self, delivery: Delivery) -> None:
        """Frames are counted by their size."""
        delivery.logs.append("all", 1, "A")
        delivery.logs.append("all", 2, "B")
        connection, line = delivery.live()
        delivery.subscriptions.join(connection, Join(None, "news", at(0)))
        delivery.logs.append("topic:news", 1, "A")
        delivery.confirm()
        delivery.replay()
        assert line.titles == "A"
        assert delivery.counted == [len(line.data[: line.data.index(b'{"type":"ok"') - 2])]

    @pytest.mark.parametrize("kind", [MUTED, EXPIRED])
    def test_not_sent(self, delivery: Delivery, kind: bytes) -> None:
        """Entries that are read and not sent, since they are muted or have expired, are counted too."""
        connection, line = delivery.live()
        delivery.subscriptions.join(connection, Join(None, "news", at(0)))
        for ms in range(1, 4):
            delivery.logs.append("topic:news", ms, "A", kind)
        delivery.confirm()
        delivery.replay()
        assert line.titles == ""
        assert sum(delivery.counted) == 3 * (FRAME + len(body("A")))

    def test_read_in_vain(self, delivery: Delivery) -> None:
        """A client that subscribes to topics while logs are read for it has what was read counted, or is closed."""
        connection, line = delivery.live()
        delivery.logs.append("topic:t0", 1, "A")
        numbers = iter(range(1, 10))
        delivery.logs.on_read = lambda: delivery.subscriptions.join(connection, Join(None, f"t{next(numbers)}", at(0)))
        delivery.subscriptions.join(connection, Join(None, "t0", at(0)))
        for count in (1, 2):
            delivery.confirm()
            delivery.replay()
            assert (delivery.counted, line.titles) == ([FRAME + len(body("A"))] * count, "")
        delivery.most_counted = 0
        delivery.confirm()
        delivery.replay()
        assert not connection.is_open

    def test_read_for_other_mutes(self, delivery: Delivery) -> None:
        """Entries that were read under outdated mutes are counted."""
        connection, _ = delivery.live()
        delivery.logs.append("topic:news", 1, "A")
        delivery.subscriptions.join(connection, Join(None, "news", at(0)))
        delivery.confirm()
        delivery.feed.on_read = lambda: {connection}
        delivery.replay()
        assert delivery.counted == [FRAME + len(body("A"))]
