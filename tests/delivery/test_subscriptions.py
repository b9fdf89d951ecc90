"""Subscriptions: which channels a connection is sent, from where on, and what counts as lost."""

import pytest

from notifier.errors import BrokerUnavailable, Disconnected, TooSlow
from notifier.protocol.cursor import BEGINNING
from notifier.protocol.subscribing import Attach, Join, Leave
from tests.delivery.conftest import Delivery, at

DAY = 86_400_000


def lost(delivery: Delivery, since: int) -> list[str]:
    """Return the channels that the welcome names as lost when a client connects with a cursor."""
    _, line = delivery.connect(since=since)
    delivery.confirm()
    delivery.replay()
    (welcome,) = line.frames("welcome")
    found: list[str] = welcome["lost"]
    return found


class TestAttach:
    def test_new_channels(self, delivery: Delivery) -> None:
        """The worker subscribes to channels that are new to it, and only to those."""
        delivery.connect(("news",))
        delivery.connect(("news",))
        assert delivery.asked == ["user:user-1", "all", "topic:news", "user:user-2"]

    def test_without_a_cursor(self, delivery: Delivery) -> None:
        """A client without a cursor receives only new notifications."""
        delivery.logs.append("all", 1, "A")
        _, line = delivery.connect()
        delivery.confirm()
        delivery.replay()
        delivery.publish("all", 2, "B")
        assert line.titles == "B"

    @pytest.mark.parametrize(
        ("since", "is_lost"), [(-29 * DAY, False), (-31 * DAY, True), (59_000, False), (61_000, True)]
    )
    def test_cursors_out_of_range(self, delivery: Delivery, since: int, is_lost: bool) -> None:
        """Older than losses are remembered, or ahead of the clock: all channels may have lost entries."""
        assert lost(delivery, since) == (["user:user-1", "all"] if is_lost else [])

    def test_a_cursor_of_another_database(self, delivery: Delivery) -> None:
        """A cursor from before the database existed misses entries in all channels."""
        delivery.listener.birth = at(-5)
        assert lost(delivery, -6) == ["user:user-1", "all"]
        assert lost(delivery, -5) == []

    def test_from_the_future(self, delivery: Delivery) -> None:
        """A client whose cursor cannot be of this database is sent everything that there is."""
        delivery.logs.append("all", 1, "A")
        _, line = delivery.connect(since=DAY)
        delivery.confirm()
        delivery.replay()
        assert line.titles == "A"

    def test_refused_topics(self, delivery: Delivery) -> None:
        """Errors about topics that were refused follow the welcome."""
        connection, line = delivery.connect()
        delivery.subscriptions.attach(connection, Attach(None, (), (BrokerUnavailable("a problem"),)))
        delivery.confirm()
        delivery.replay()
        assert line.data.index(b'"welcome"') < line.data.index(b'"error"')


class TestJoin:
    def test_while_live(self, delivery: Delivery) -> None:
        """A topic that a live connection subscribes to is sent from then on, and confirmed."""
        connection, line = delivery.live()
        delivery.logs.append("topic:news", 1, "A")
        delivery.subscriptions.join(connection, Join("r1", "news", None))
        assert line.data == b""
        connection.session.topics = ("news",)
        delivery.confirm()
        delivery.replay()
        delivery.publish("topic:news", 2, "B")
        assert [frame["ref"] for frame in line.frames("ok")] == ["r1"]
        assert line.titles == "B"

    def test_too_many(self, delivery: Delivery) -> None:
        """A client that subscribes without awaiting confirmations is closed at a limit."""
        connection, _ = delivery.live()
        for number in range(200):
            delivery.subscriptions.join(connection, Join(None, f"topic-{number}", None))
        with pytest.raises(TooSlow):
            delivery.subscriptions.join(connection, Join(None, "another", None))
        assert "topic:another" not in delivery.asked


class TestLeave:
    def test_while_live(self, delivery: Delivery) -> None:
        """A topic that a connection has left is not sent to it."""
        connection, line = delivery.live(("news",))
        connection.session.topics = ()
        delivery.subscriptions.leave(connection, Leave("r1", ("news",)))
        delivery.publish("topic:news", 1, "A")
        assert line.titles == ""
        assert [frame["ref"] for frame in line.frames("ok")] == ["r1"]

    def test_a_topic_of_the_user(self, delivery: Delivery) -> None:
        """A topic that the user is a member of stays."""
        connection, line = delivery.live(("news",))
        delivery.subscriptions.enroll(connection, {"news": at(0)})
        delivery.subscriptions.leave(connection, Leave("r1", ("news",)))
        delivery.publish("topic:news", 1, "A")
        assert line.titles == "A"

    def test_what_a_connection_waited_for(self, delivery: Delivery) -> None:
        """A connection that waits for a topic's confirmation is served when it leaves the topic."""
        connection, line = delivery.live()
        connection.session.topics = ("news",)
        delivery.subscriptions.join(connection, Join("r1", "news", None))
        delivery.publish("all", 1, "A")
        delivery.replay()
        assert line.titles == ""
        connection.session.topics = ()
        delivery.subscriptions.leave(connection, Leave("r2", ("news",)))
        delivery.replay()
        assert (line.titles, connection.catch_up) == ("A", None)

    def test_a_membership_that_a_connection_waited_for(self, delivery: Delivery) -> None:
        """A connection that waits for a topic of its user is served when the user leaves the topic."""
        connection, line = delivery.live()
        delivery.subscriptions.enroll(connection, {"news": at(0)})
        delivery.publish("all", 1, "A")
        delivery.replay()
        assert line.titles == ""
        delivery.subscriptions.enroll(connection, {})
        delivery.replay()
        assert (line.titles, connection.catch_up) == ("A", None)


class TestMembership:
    def test_joined_while_live(self, delivery: Delivery) -> None:
        """A topic that a user becomes a member of is sent from the membership on, also what came before the news."""
        connection, line = delivery.live()
        for ms, title in enumerate("ABC", 1):
            delivery.logs.append("topic:news", ms, title)
        delivery.subscriptions.enroll(connection, {"news": at(1)})
        delivery.confirm()
        delivery.replay()
        assert (line.titles, connection.catch_up) == ("BC", None)

    @pytest.mark.parametrize(("joined", "titles"), [(0, "BC"), (2, "C")])
    def test_joined_while_offline(self, delivery: Delivery, joined: int, titles: str) -> None:
        """A client that resumes is sent the topic from its cursor on, but nothing from before the membership."""
        for ms, title in enumerate("ABC", 1):
            delivery.logs.append("topic:news", ms, title)
        delivery.feed.topics["user-1"] = {"news": at(joined)}
        _, line = delivery.connect(since=1)
        delivery.confirm()
        delivery.replay()
        delivery.confirm()
        delivery.replay()
        assert line.titles == titles

    def test_left(self, delivery: Delivery) -> None:
        """A topic that a user leaves is not sent any more, unless the connection has subscribed to it."""
        connection, line = delivery.live(("news",))
        connection.session.topics = ("news",)
        delivery.subscriptions.enroll(connection, {"news": at(0), "sport": at(0)})
        delivery.confirm()
        delivery.replay()
        delivery.subscriptions.enroll(connection, {})
        delivery.publish("topic:news", 1, "A")
        delivery.publish("topic:sport", 2, "B")
        assert line.titles == "A"
        assert connection.memberships == {}

    @pytest.mark.parametrize("is_new", [True, False])
    @pytest.mark.parametrize("reconnects", [True, False])
    def test_joined_on_a_worker_that_is_late(self, delivery: Delivery, is_new: bool, reconnects: bool) -> None:
        """What was published before the membership is not sent, although the worker receives it only afterwards."""
        delivery.live(("news",))
        late = delivery.logs.append("topic:news", 1, "A")
        topics = delivery.feed.topics["user-2"] = {"news": at(1)}
        connection, line = delivery.connect() if is_new else delivery.live()
        delivery.subscriptions.enroll(connection, topics)
        delivery.confirm()
        delivery.replay(3)
        if reconnects:
            delivery.reconnect()
            delivery.replay()
        else:
            delivery.listener.received([("topic:news", late)])
        delivery.publish("topic:news", 2, "B")
        assert (line.titles, connection.catch_up) == ("B", None)

    def test_removed_and_added_again(self, delivery: Delivery) -> None:
        """What was published between two memberships is not sent, although the connection learns of both at once."""
        connection, line = delivery.live()
        delivery.subscriptions.enroll(connection, {"news": at(0)})
        delivery.confirm()
        delivery.replay()
        delivery.publish("topic:news", 1, "A")
        delivery.listener.subscription_lost()
        for ms, title in enumerate("BC", 2):
            delivery.logs.append("topic:news", ms, title)
        delivery.subscriptions.enroll(connection, {"news": at(2)})
        delivery.listener.subscribed(delivery.listener.wanted_channels())
        delivery.replay(2)
        assert (line.titles, connection.catch_up) == ("AC", None)

    def test_a_connection_that_is_closed(self, delivery: Delivery) -> None:
        """A connection that has closed joins nothing: it would stay in the hub forever."""
        connection, _ = delivery.live()
        connection.close(Disconnected())
        delivery.subscriptions.enroll(connection, {"news": at(0)})
        assert delivery.hub.get("topic:news") is None


def test_close(delivery: Delivery) -> None:
    """A connection that is closed is in no channel."""
    connection, line = delivery.live(("news",))
    delivery.subscriptions.close(connection)
    for name in ("user:user-1", "all", "topic:news"):
        assert connection not in delivery.hub[name].connections
    delivery.publish("all", 1, "A")
    assert line.data == b""


def test_beginning(delivery: Delivery) -> None:
    """The first cursor of all is older than what is remembered."""
    connection, line = delivery.connect()
    catch_up = delivery.progress.catch_up_of(connection)
    delivery.subscriptions._resume(catch_up, ["all"], BEGINNING)
    delivery.confirm()
    delivery.replay()
    assert line.frames("welcome")[0]["lost"] == ["all"]
