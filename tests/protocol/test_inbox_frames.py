"""Frames to the inbox: valid and invalid actions and acknowledgements."""

import itertools
import json
from typing import Any

import pytest

from notifier.errors import InvalidFrame, InvalidInboxAction
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Ack, InboxFrame
from notifier.protocol.inbox_frames import Acknowledge, Marking, read_ack, read_marking
from notifier.protocol.inbox_target import Target
from tests.kit.cases import rows

MOST = 3  # ids of one action


def marking(action: str, **fields: object) -> Marking:
    """Return the action that a frame asks for."""
    frame = frames.decode(json.dumps({"type": action, **fields}))
    assert isinstance(frame, InboxFrame)
    return read_marking(frame, MOST)


def ack(**fields: object) -> Acknowledge:
    """Return the acknowledgement in a frame."""
    frame = frames.decode(json.dumps({"type": "ack", **fields}))
    assert isinstance(frame, Ack)
    return read_ack(frame)


class TestMarking:
    @rows("action", ["seen", "read", "unread", "archive", "unarchive"])
    def test_actions(self, action: str) -> None:
        """Each action names ids, or everything up to a cursor, and has its ref. Repeated ids count once."""
        assert marking(action, ref="r", ids=["a", "a"]) == Marking("r", action, Target(("a",)))
        assert marking(action, up_to="5-1") == Marking(None, action, Target(up_to=Cursor(5, 1)))

    @rows("ref", [None, "r"])
    @rows(
        ("fields", "pointer"),
        [
            ({}, ""),
            ({"ids": ["a"], "up_to": "1-0"}, ""),
            ({"ids": [""]}, "/ids/0"),
            ({"ids": ["a", "x" * 129]}, "/ids/1"),
            ({"ids": ["a", "b", "c", "d"]}, "/ids"),
            ({"up_to": "now"}, "/up_to"),
        ],
    )
    def test_invalid(self, fields: dict[str, Any], pointer: str, ref: str | None) -> None:
        """The problem of an action without a valid target has the ref of the frame, if any, and a pointer."""
        with pytest.raises(InvalidInboxAction) as caught:
            marking("read", ref=ref, **fields)
        assert [fault.pointer for fault in caught.value.faults] == [pointer]
        assert caught.value.fields.get("ref") == ref
        assert ("ref" in caught.value.fields) == (ref is not None)

    def test_most_ids(self) -> None:
        """The limit of ids is inclusive."""
        assert marking("read", ids=["a", "b", "c"]).target.ids == ("a", "b", "c")


class TestAck:
    def test_cursors(self) -> None:
        """An ack names the last cursor received, and the cursor that it follows; without that it is of one entry."""
        assert ack(cursor="9-1", since="5-0") == Acknowledge(Cursor(9, 1), Cursor(5, 0))
        assert ack(cursor="9-1") == Acknowledge(Cursor(9, 1), Cursor(9, 0))

    def test_joined(self) -> None:
        """Two acks are one, in any order, unless something lies between them that neither covers."""
        acks = [Acknowledge(Cursor(end, 0), Cursor(begin, 0)) for begin in range(6) for end in range(begin + 1, 7)]
        for one, other in itertools.product(acks, acks):
            covered = {ms for ack in (one, other) for ms in range(ack.since.ms + 1, ack.cursor.ms + 1)}
            joined = one.joined(other)
            if joined is None:
                assert len(covered) < max(covered) - min(covered) + 1
            else:
                assert covered == set(range(joined.since.ms + 1, joined.cursor.ms + 1))

    @rows("fields", [{}, {"cursor": None}, {"cursor": "now"}, {"cursor": "1-0", "since": "x"}])
    def test_invalid(self, fields: dict[str, Any]) -> None:
        """An ack without valid cursors is an error: otherwise its client would assume that it was stored."""
        with pytest.raises(InvalidFrame) as caught:
            ack(ref="r", **fields)
        assert caught.value.fields["ref"] == "r"
