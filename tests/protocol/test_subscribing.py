"""Subscribing: which topics a token allows to read, and which names are rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import Forbidden, InvalidFrame, Problem
from notifier.protocol import subscribing
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Subscribe
from notifier.protocol.identity import Identity
from notifier.protocol.subscribing import Join
from tests.kit.cases import rows

ALICE = Identity("alice", 2e9, topics=("orders", "project:*"), publish=("room:*",))
EVERYTHING = ALICE._replace(topics=("*",))
REJECTED: list[tuple[str, str | None, type[Problem]]] = [
    ("secret", None, Forbidden),
    ("project", None, Forbidden),
    ("room:1", None, Forbidden),  # granted for publishing only
    ("", None, InvalidFrame),
    ("a b", None, InvalidFrame),
    ("project:*", None, InvalidFrame),
    ("project:{7}", None, InvalidFrame),
    ("project:" + "7" * 121, None, InvalidFrame),
    ("project:7", "now", InvalidFrame),
    ("project:7", "", InvalidFrame),
]


class TestRead:
    def test_granted(self) -> None:
        """A topic that the token grants by name, by a pattern, or with all others may be subscribed to."""
        assert subscribing.read(Subscribe(topic="orders"), ALICE) == Join(None, "orders", None)
        frame = Subscribe(ref="r", topic="project:7", since="5-1")
        assert subscribing.read(frame, ALICE) == Join("r", "project:7", Cursor(5, 1))
        assert subscribing.read(Subscribe(topic="secret"), EVERYTHING) == Join(None, "secret", None)

    @rows(("topic", "since", "problem"), REJECTED)
    def test_rejected(self, topic: str, since: str | None, problem: type[Problem]) -> None:
        """A topic that is not granted, an invalid name or cursor is a problem with the ref of the frame."""
        with pytest.raises(problem) as caught:
            subscribing.read(Subscribe(ref="r", topic=topic, since=since), ALICE)
        assert caught.value.fields["ref"] == "r"

    def test_fault_first(self) -> None:
        """An invalid name is reported as one, also if the token does not grant it."""
        with pytest.raises(InvalidFrame):
            subscribing.read(Subscribe(topic="a b", since="now"), ALICE)


class TestMayRead:
    @rows("topic", ["", "a b", "project:*", "project:{7}", "x" * 129])
    def test_names(self, topic: str) -> None:
        """A grant of everything does not grant a text that is not a name."""
        assert not subscribing.may_read(EVERYTHING, topic)

    def test_grants(self) -> None:
        """Grants for reading count, grants for publishing do not."""
        assert subscribing.may_read(ALICE, "orders")
        assert subscribing.may_read(ALICE, "project:7")
        assert not subscribing.may_read(ALICE, "orders:1")
        assert not subscribing.may_read(ALICE, "room:1")


@given(st.text())
def test_refusal_is_short(topic: str) -> None:
    """A refusal quotes at most 128 characters of what a client sent."""
    problem = subscribing.refusal(topic * 200, "r")
    assert (problem.fields["ref"], problem.fields["topic"]) == ("r", (topic * 200)[:128])
    assert len(problem.detail) < 200
