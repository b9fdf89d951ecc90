"""Progress: which connections are live, and which are queued for the replayer."""

from notifier.errors import Disconnected
from tests.delivery.conftest import NOW, Delivery, at


def test_live(delivery: Delivery) -> None:
    """A connection is live from the end of its replay on, until it falls behind."""
    connection, _ = delivery.connect()
    assert delivery.progress.lagging == 1
    delivery.confirm()
    delivery.replay()
    assert (connection.catch_up, delivery.progress.lagging) == (None, 0)
    delivery.progress.fall_behind(connection)
    assert (connection.catch_up is None, delivery.progress.lagging) == (False, 1)


def test_where_it_begins(delivery: Delivery) -> None:
    """A live connection that falls behind goes on after what it was sent of each channel."""
    connection, _ = delivery.live(("news",))
    delivery.publish("all", 1, "A")
    delivery.publish("topic:news", 2, "B")
    delivery.hub["topic:news"].run_ahead(connection, at(9), at(0))
    catch_up = delivery.progress.fall_behind(connection)
    assert catch_up.positions == {"user:user-1": at(-NOW), "all": at(1), "topic:news": at(9)}


def test_once(delivery: Delivery) -> None:
    """A connection that falls behind twice keeps its `CatchUp`."""
    connection, _ = delivery.live()
    assert delivery.progress.fall_behind(connection) is delivery.progress.fall_behind(connection)


def test_hold(delivery: Delivery) -> None:
    """A live connection is held with the entries that arrive; one that is not live only waits."""
    connection, _ = delivery.live()
    new, _ = delivery.connect()
    for each in (connection, new):
        delivery.progress.hold(each)
    assert connection.catch_up and connection.catch_up.is_held
    assert new.catch_up and not new.catch_up.is_held
    delivery.progress.fall_behind(connection)
    assert not connection.catch_up.is_held


def test_after_a_hold(delivery: Delivery) -> None:
    """A connection that was held is sent the entries that arrived during the hold, without a read of the log."""
    connection, line = delivery.live()
    delivery.publish("all", 1, "A")
    delivery.progress.hold(connection)
    delivery.publish("all", 2, "B")
    assert line.titles == "A"
    delivery.replay()
    assert (line.titles, delivery.logs.reads) == ("AB", [])
    assert connection.catch_up is None


def test_ahead_of_the_worker(delivery: Delivery) -> None:
    """A connection that goes live with an entry that the worker has not received is not sent it again."""
    connection, line = delivery.connect(since=0)
    delivery.logs.append("all", 1, "A")
    delivery.confirm()
    late = delivery.logs.append("all", 2, "B")
    delivery.replay()
    assert (line.titles, connection.catch_up) == ("AB", None)
    delivery.listener.received([("all", late)])
    delivery.publish("all", 3, "C")
    assert line.titles == "ABC"


def test_batches(delivery: Delivery) -> None:
    """Connections are served in the order in which they were queued, each once."""
    connections = [delivery.connect()[0] for _ in range(3)]
    delivery.confirm()
    for connection in connections:
        delivery.progress.serve(connection)
    assert delivery.progress.next_batch(2) == connections[:2]
    delivery.progress.serve(connections[0])
    assert delivery.progress.next_batch(2) == [connections[2], connections[0]]
    assert not delivery.progress._filled.is_set()


def test_what_cannot_be_served(delivery: Delivery) -> None:
    """Not served: live, closed or blocked connections, and those with channels that are not subscribed to."""
    live, _ = delivery.live()
    connection, line = delivery.connect()
    assert not delivery.progress.can_serve(connection)
    delivery.confirm()
    assert delivery.progress.can_serve(connection)
    assert not delivery.progress.can_serve(live)
    line.room = 0
    assert not delivery.progress.can_serve(connection)
    line.room = None
    delivery.hub["all"].lose_subscription()
    assert not delivery.progress.can_serve(connection)
    delivery.hub["all"].confirmed = True
    connection.close(Disconnected())
    assert not delivery.progress.can_serve(connection)


def test_reached(delivery: Delivery) -> None:
    """The time up to which everything was fanned out is unknown at first, and never goes back."""
    assert delivery.progress.reached is None
    delivery.progress.advance(NOW)
    delivery.progress.advance(NOW - 9)
    assert delivery.progress.reached is not None
    assert delivery.progress.reached.ms == NOW
