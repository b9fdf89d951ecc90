"""Frames to the inbox: the actions and acknowledgements of clients."""

from typing import NamedTuple

from notifier.errors import Problem
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Ack, InboxFrame
from notifier.protocol.inbox_target import Target, aim


class Marking(NamedTuple):
    """Run an action on items of the user's inbox, then confirm `ref`."""

    ref: str | None
    action: str
    target: Target


class Acknowledge(NamedTuple):
    """Note that the client has received everything after `since`, up to and including `cursor`."""

    cursor: Cursor
    since: Cursor

    def joined(self, other: "Acknowledge") -> "Acknowledge | None":
        """Return both as one; None: between them lies what the client may not have received."""
        if max(self.since, other.since) > min(self.cursor, other.cursor):
            return None
        return Acknowledge(max(self.cursor, other.cursor), min(self.since, other.since))


def read_ack(frame: Ack) -> Acknowledge:
    """Return the acknowledgement in a frame. Without `since`, it is that of the entry at `cursor` alone.

    Raises:
        InvalidFrame: a cursor is not valid.
    """
    place = frames.decode_cursor(frame.cursor, frame.ref, "cursor")
    assert place is not None
    return Acknowledge(place, frames.decode_cursor(frame.since, frame.ref) or place.previous)


def read_marking(frame: InboxFrame, most: int) -> Marking:
    """Return the inbox action in a frame, on at most `most` items.

    Raises:
        InvalidInboxAction: the frame names no items, or too many; the problem has the frame's `ref`.
    """
    try:
        return Marking(frame.ref, type(frame).__name__.lower(), aim(frame.ids, frame.up_to, most))
    except Problem as problem:
        if frame.ref is not None:
            problem.fields["ref"] = frame.ref
        raise
