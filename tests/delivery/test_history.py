"""History: what is served from memory, and what only the logs know."""

from typing import Any

import pytest

from notifier.errors import BrokerUnavailable
from notifier.inbox.states import known
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import Page
from tests.delivery.conftest import Delivery, at


class Stranger:
    """A connection that is in no channel."""

    catch_up = None


FIRST, SECOND = Stranger(), Stranger()


def pages(delivery: Delivery, wanted: dict[Any, dict[str, Cursor]]) -> dict[Any, dict[str, Any]]:
    """Return what is recalled, and what is read where nothing can be."""
    history = delivery.replayer._history
    recalled = {each: history.recall(each, positions) for each, positions in wanted.items()}
    read = history.read({each: wanted[each] for each, found in recalled.items() if found is None})
    return {each: read[each] if found is None else found for each, found in recalled.items()}


def ids(page: object) -> list[bytes]:
    assert isinstance(page, Page)
    return [entry.id for entry in page.entries]


def of(*times: int) -> list[bytes]:
    return [str(at(ms)).encode() for ms in times]


class TestMemory:
    def test_nothing_missed(self, delivery: Delivery) -> None:
        """For a connection that has everything, nothing is read."""
        connection, _ = delivery.live()
        delivery.publish("all", 1, "A")
        assert pages(delivery, {connection: {"all": at(1)}}) == {connection: {}}
        assert delivery.logs.reads == []

    def test_recent(self, delivery: Delivery) -> None:
        """Entries that this worker has received without a gap are served without reading from Redis."""
        connection, _ = delivery.live()
        for ms in (1, 2, 3):
            delivery.publish("all", ms, "A")
        assert ids(pages(delivery, {connection: {"all": at(1)}})[connection]["all"]) == of(2, 3)
        assert delivery.logs.reads == []

    def test_one_channel_is_unknown(self, delivery: Delivery) -> None:
        """If one channel is not in memory, all are read: the others alone would move the client's cursor too far."""
        connection, _ = delivery.live(("news",))
        delivery.logs.append("topic:news", 1, "A")
        delivery.reconnect()
        delivery.publish("all", 2, "B")
        found = pages(delivery, {connection: {"all": at(1), "topic:news": at(0)}})[connection]
        assert (ids(found["all"]), ids(found["topic:news"])) == (of(2), of(1))
        assert [name for name, _ in delivery.logs.reads] == ["all", "topic:news"]

    def test_what_may_have_been_erased(self, delivery: Delivery) -> None:
        """Of a user who was disconnected, only the log knows what there was before."""
        connection, _ = delivery.live()
        own = connection.channels[0]
        delivery.publish(own, 5, "A")
        delivery.publish(own, 6, "B")
        known(delivery.hub[own]).note_disconnect(at(5).ms)
        pages(delivery, {connection: {own: at(5)}})
        assert delivery.logs.reads == [(own, at(5))]
        pages(delivery, {connection: {own: at(6)}})
        assert len(delivery.logs.reads) == 1

    def test_what_is_not_received_yet(self, delivery: Delivery) -> None:
        """Entries that will be left out for a connection, because it is ahead, are read from the log if asked again."""
        connection, _ = delivery.live()
        delivery.publish("all", 1, "A")
        delivery.hub["all"].run_ahead(connection, at(9), at(0))
        for ms in (0, 1):
            pages(delivery, {connection: {"all": at(ms)}})
        assert delivery.logs.reads == [("all", at(0)), ("all", at(1))]
        assert pages(delivery, {connection: {"all": at(9)}}) == {connection: {}}


class TestLogs:
    @pytest.fixture(autouse=True)
    def nothing_in_memory(self, delivery: Delivery) -> None:
        delivery.live(("news",))
        for ms in range(1, 9):
            delivery.logs.append("all", ms, "A")
            delivery.logs.append("topic:news", ms, "B")
        delivery.reconnect()

    def test_shared(self, delivery: Delivery) -> None:
        """Connections share the read of the one that is furthest behind; each gets its own part."""
        found = pages(delivery, {FIRST: {"all": at(6)}, SECOND: {"all": at(3), "topic:news": at(7)}})
        assert delivery.logs.reads == [("all", at(3)), ("topic:news", at(7))]
        assert ids(found[FIRST]["all"]) == of(7, 8)
        assert ids(found[SECOND]["all"]) == of(4, 5, 6, 7, 8)
        assert ids(found[SECOND]["topic:news"]) == of(8)

    def test_a_page_that_ends_too_early(self, delivery: Delivery) -> None:
        """A page that ends before a position is marked, to be read once more."""
        delivery.logs.page = 2
        found = pages(delivery, {FIRST: {"all": at(6)}, SECOND: {"all": at(1)}})
        assert found[FIRST] == {"all": None}
        assert ids(found[SECOND]["all"]) == of(2, 3)

    def test_impatient(self, delivery: Delivery) -> None:
        """A connection that has waited often enough gets a read of its own."""
        connection, _ = delivery.connect(since=6)
        assert connection.catch_up
        for _ in range(10):
            connection.catch_up.read(delivery.progress.last)
            connection.catch_up.retry()
        delivery.logs.page = 2
        found = pages(delivery, {connection: {"all": at(6)}, SECOND: {"all": at(1)}})
        assert ids(found[connection]["all"]) == of(7, 8)
        assert len(delivery.logs.reads) == 2

    def test_faults(self, delivery: Delivery) -> None:
        """A log that cannot be read is distinguished from the others; without Redis no log is read."""
        fault = delivery.logs.faulty["all"] = BrokerUnavailable("a wrong type")
        found = pages(delivery, {FIRST: {"all": at(6), "topic:news": at(7)}})[FIRST]
        assert found["all"] is fault
        assert ids(found["topic:news"]) == of(8)
        delivery.logs.is_down = True
        with pytest.raises(BrokerUnavailable):
            pages(delivery, {FIRST: {"all": at(6)}})
