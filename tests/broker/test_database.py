"""Questions to the database as a whole, on a real server."""

from collections.abc import Callable

from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from tests.kit.broker import Listener, Make, now

DAY = 86400 * 1000  # ms


class TestDatabase:
    def test_birth(self, make: Make) -> None:
        """The birth of a database is when it was first used, for everybody and for good."""
        before = now()
        birth = make(redis_prefix="birth").database.birth()
        assert Cursor(before, 0) <= birth <= Cursor(now(), 0)
        assert make(redis_prefix="birth").database.birth() == birth

    def test_birth_sets_the_clock(self, make: Make) -> None:
        """Who has asked for the birth knows what time it is."""
        clock = Clock()
        before = now()
        make(clock).database.birth()
        assert before <= clock.ms <= now()

    def test_beat(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """A heartbeat says who lives and what time it is."""
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
