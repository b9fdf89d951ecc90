"""Pasts: what connections requested of the past of topics, from the request until all of it has been delivered."""

import math
from dataclasses import dataclass

from chaos.cursors import OVERLAP, Cursor


@dataclass
class _Past:
    number: int
    since: Cursor
    asked: float
    complete: float = math.inf


class Pasts:
    """The pasts of topics that were requested for one client. Times are in monotonic seconds."""

    def __init__(self) -> None:
        self._by_channel: dict[str, list[_Past]] = {}

    def ask(self, topic: str, since: Cursor, at: float, number: int = 0) -> None:
        """Note a request for the past of a topic after a cursor. No later request has a lower number."""
        self._by_channel.setdefault(f"topic:{topic}", []).append(_Past(number, since, at))

    def complete(self, topic: str, at: float, number: int = 0) -> None:
        """Note that everything has been delivered that was requested up to a number."""
        for past in self._by_channel.get(f"topic:{topic}", ()):
            if past.number <= number:
                past.complete = min(past.complete, at)

    def cover(self, channel: str, cursor: Cursor, at: float) -> bool:
        """Return whether an entry that arrived at a time may belong to one of them.

        Such entries may follow later ones of other channels.
        """
        return any(
            past.asked <= at <= past.complete and cursor[0] >= past.since[0] - OVERLAP
            for past in self._by_channel.get(channel, ())
        )
