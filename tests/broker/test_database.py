"""Questions to the database as a whole, on a real server."""

from collections.abc import Callable

import pytest

from notifier.errors import BrokerUnavailable
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.settings import BrokerSettings
from tests.kit.broker import Listener, Make, broker_of, now
from tests.kit.valkey import connected, running_valkey

DAY = 86400 * 1000  # ms


class TestDatabase:
    def test_birth(self, make: Make) -> None:
        """The birth of a database is when it was first used, permanently and for all workers."""
        before = now()
        birth = make(redis_prefix="birth").database.birth()
        assert Cursor(before, 0) <= birth <= Cursor(now(), 0)
        assert make(redis_prefix="birth").database.birth() == birth

    def test_birth_sets_the_clock(self, make: Make) -> None:
        """Asking for the birth of the database also sets the clock."""
        clock = Clock()
        before = now()
        make(clock).database.birth()
        assert before <= clock.ms <= now()

    def test_beat(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """A heartbeat contains the name of the node and the time."""
        clock = Clock()
        listener = listen(topic)
        before = now()
        make(clock).database.beat(topic, "node")
        assert listener.receive(1) == [b"node %d" % clock.ms]
        assert before <= clock.ms <= now()

    def test_beat_of_the_future(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """Where the clock of Redis steps back, every node goes on from the latest time that one of them has seen."""
        listener = listen(topic)
        ahead, behind, new = Clock(), Clock(), Clock()
        ahead.observe(now() + DAY)
        make(behind).database.beat(topic, "behind")
        make(ahead).database.beat(topic, "ahead")
        make(new).database.beat(topic, "new")
        assert listener.receive(3)[1:] == [b"ahead %d" % ahead.ms, b"new %d" % ahead.ms]
        assert behind.ms < new.ms == ahead.ms

    def test_no_beat_of_a_replica(self, make: Make, topic: str) -> None:
        """A replica publishes no heartbeat: its subscribers may miss what others publish elsewhere."""
        with running_valkey() as replica, connected(replica) as client:
            listener = Listener(replica.url, topic)
            database = broker_of(BrokerSettings(redis_url=replica.url), Clock()).database
            client.replicaof("127.0.0.1", 1)
            with pytest.raises(BrokerUnavailable):
                database.beat(topic, "replica")
            client.replicaof("NO", "ONE")
            database.beat(topic, "primary")
            assert [message.split()[0] for message in listener.receive(1)] == [b"primary"]
            listener.close()
