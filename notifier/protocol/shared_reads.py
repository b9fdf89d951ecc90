"""Shared reads: one read of a log serves many connections that catch up."""

from collections.abc import Iterable

from notifier.protocol.cursor import Cursor

_SHARED = 30_000  # ms between positions that one read serves

Read = tuple[str, Cursor]  # a channel, and the position after which its log is read


def share(reads: Iterable[Read], alone: Iterable[Read] = ()) -> dict[Read, Read]:
    """Return for each read of a log the read that answers it, so that few reads serve many connections.

    Those that are `alone` answer themselves.
    """
    answers: dict[Read, Read] = {}
    first: Read | None = None
    for read in sorted(set(reads)):
        channel, position = read
        if first is None or first[0] != channel or position.ms > first[1].ms + _SHARED:
            first = read
        answers[read] = first
    return answers | {read: read for read in alone}
