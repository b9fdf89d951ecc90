"""The hub: the members of each channel, and the state of its subscription."""

import pytest

from notifier.connections.hub import Channel, Hub
from notifier.protocol.cursor import BEGINNING, Cursor


@pytest.fixture
def hub() -> Hub[str]:
    return Hub()


class TestMembers:
    def test_join(self, hub: Hub[str]) -> None:
        """The first connection that joins creates the channel, and members are kept in the order of joining."""
        assert hub.join("all", "b") is True
        channel = hub["all"]
        assert hub.join("all", "a") is False
        assert hub["all"] is hub.get("all") is channel
        assert hub.members("all") == ["b", "a"]

    def test_join_twice(self, hub: Hub[str]) -> None:
        """A connection that joins twice is a member once."""
        hub.join("all", "a")
        hub.join("all", "a")
        assert hub.members("all") == ["a"]

    def test_unknown(self, hub: Hub[str]) -> None:
        """A channel without members does not exist."""
        assert hub.get("all") is None
        assert hub.channels() == []
        with pytest.raises(KeyError):
            hub["all"]

    def test_leave(self, hub: Hub[str]) -> None:
        """A connection that leaves a channel is removed from that channel only."""
        for name in ("all", "topic:a"):
            hub.join(name, "a")
            hub.join(name, "b")
        hub.leave("all", "a", 1.0)
        assert hub.members("all") == ["b"]
        assert hub.members("topic:a") == ["a", "b"]

    def test_leave_what_was_not_joined(self, hub: Hub[str]) -> None:
        """Leaving a channel that was not joined changes nothing."""
        hub.join("all", "a")
        hub.leave("all", "b", 1.0)
        hub.leave("topic:a", "a", 1.0)
        assert [channel.name for channel in hub.channels()] == ["all"]
        assert hub.members("all") == ["a"]

    def test_nobody(self, hub: Hub[str]) -> None:
        """A channel that does not exist has no members."""
        assert hub.members("all") == []

    def test_shared_topic(self, hub: Hub[str]) -> None:
        """Connections of a channel share the string of its topic; it is forgotten together with the channel."""

        def heard() -> str:
            return "".join(("or", "ders"))  # as a frame brings it: not the same string twice

        assert hub.shared(heard()) is not hub.shared(heard())
        hub.join("topic:orders", "a")
        first = hub.shared(heard())
        assert first is hub.shared(heard()) and first == "orders"
        hub["topic:orders"].confirm(BEGINNING)
        hub.leave("topic:orders", "a", 1.0)
        assert hub.shared(heard()) is first
        hub.forget_idle(2.0)
        assert hub.shared(heard()) is not first

    def test_channels_may_change_meanwhile(self, hub: Hub[str]) -> None:
        """Connections may join while a caller iterates over all channels."""
        hub.join("all", "a")
        for _ in hub.channels():
            hub.join("topic:a", "a")
        assert len(hub.channels()) == 2


class TestIdle:
    def leave(self, hub: Hub[str], name: str, now: float) -> Channel[str]:
        hub.join(name, "a")
        channel = hub[name]
        channel.confirm(BEGINNING)
        hub.leave(name, "a", now)
        return channel

    def test_forget(self, hub: Hub[str]) -> None:
        """A channel that was left long ago is forgotten, once; one that was left a moment ago lingers."""
        self.leave(hub, "topic:a", 10.0)
        self.leave(hub, "topic:b", 20.0)
        assert hub.forget_idle(10.0) == []
        assert hub.forget_idle(15.0) == ["topic:a"]
        assert hub.forget_idle(15.0) == []
        assert [channel.name for channel in hub.channels()] == ["topic:b"]

    def test_come_back(self, hub: Hub[str]) -> None:
        """A connection that joins an idle channel again finds it unchanged, and keeps it."""
        channel = self.leave(hub, "topic:a", 10.0)
        assert hub.join("topic:a", "b") is False
        assert hub.forget_idle(100.0) == []
        assert hub["topic:a"] is channel

    def test_left_again(self, hub: Hub[str]) -> None:
        """A channel is idle from when its last member left."""
        self.leave(hub, "topic:a", 10.0)
        self.leave(hub, "topic:a", 20.0)
        assert hub.forget_idle(15.0) == []
        assert hub.forget_idle(25.0) == ["topic:a"]

    def test_somebody_stays(self, hub: Hub[str]) -> None:
        """A channel that still has a member is not idle."""
        hub.join("topic:a", "b")
        channel = hub["topic:a"]
        self.leave(hub, "topic:a", 10.0)
        assert hub.forget_idle(100.0) == []
        assert hub["topic:a"] is channel

    def test_unconfirmed(self, hub: Hub[str]) -> None:
        """A channel whose subscription is not confirmed is not forgotten before it is."""
        hub.join("topic:a", "a")
        hub.leave("topic:a", "a", 10.0)
        assert hub.forget_idle(100.0) == []
        hub["topic:a"].confirm(BEGINNING)
        assert hub.forget_idle(100.0) == ["topic:a"]


def test_leave_what_one_is_ahead_on(hub: Hub[str]) -> None:
    """If a connection leaves a channel, its position in that channel is removed."""
    hub.join("all", "a")
    hub["all"].run_ahead("a", Cursor(7, 0), Cursor(7, 0))
    hub.leave("all", "a", 0)
    assert hub["all"].sent_to("a") == BEGINNING
