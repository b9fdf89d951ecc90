"""The ledger: what was published, and how the service answered."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chaos.cursors import Cursor, cursor_of

ANSWER_WITHIN = 5.0  # seconds


@dataclass
class Publication:
    """One notification as its publisher sent it. `cursors` (by channel) is set when it is acknowledged."""

    key: str
    channels: list[str]
    retained: bool = True
    for_inbox: bool = False
    type: str = ""
    collapse_key: str = ""
    ttl: int = 0  # seconds; 0: it does not expire
    recall_asked: float = 0.0
    recalled: float = 0.0
    attempts: list[tuple[float, str]] = field(default_factory=list)  # time and outcome
    acknowledged: float = 0.0
    id: str = ""
    cursors: dict[str, Cursor] = field(default_factory=dict)

    @property
    def appended(self) -> tuple[float, float]:
        """Between which times its entries were appended."""
        return self.attempts[0][0], self.acknowledged or math.inf

    def attempts_began_before(self, at: float) -> bool:
        """Return whether it was posted before a time."""
        return bool(self.attempts) and self.attempts[0][0] < at

    @property
    def is_durable(self) -> bool:
        """Whether offline clients must receive it later: nothing removes it from the log."""
        return self.retained and not (self.collapse_key or self.ttl or self.recall_asked)


class Ledger:
    """All publications by their keys."""

    def __init__(self) -> None:
        self.publications: dict[str, Publication] = {}
        self.complaints: list[str] = []
        self.crashes: list[tuple[float, float]] = []  # since when a disk was slow, and when the server was killed
        self._torn: set[str] = set()
        self._in: dict[str, list[Publication]] = defaultdict(list)  # by channel, acknowledged
        self._latest: dict[tuple[str, str], Cursor] = {}  # by channel and collapse key

    def acknowledged_in(self, channels: Iterable[str]) -> list[Publication]:
        """Return the publications to some channels that were answered with 201, each once."""
        return list({each.key: each for channel in channels for each in self._in[channel]}.values())

    def latest_in(self, channels: Iterable[str], count: int) -> list[Publication]:
        """Return the latest `count` of them on each channel, each once."""
        return list({each.key: each for channel in channels for each in self._in[channel][-count:]}.values())

    def is_replaced(self, publication: Publication, channel: str) -> bool:
        """Return whether another one with the same collapse key followed it on the channel."""
        latest = self._latest.get((channel, publication.collapse_key), (0, 0))
        return bool(publication.collapse_key) and latest > publication.cursors[channel]

    def all_expire_at(self) -> float:
        """Return when the last one with a ttl has certainly expired."""
        mortal = [each for each in self.publications.values() if each.ttl]
        ends = ((each.acknowledged or each.attempts[-1][0] + ANSWER_WITHIN) + each.ttl for each in mortal)
        return max(ends, default=0.0) + 0.5

    def is_torn(self, publication: Publication) -> bool:
        """Return whether a crash came between its first attempt and its answer: a retry may have published it again."""
        first, last = publication.appended
        return publication.key in self._torn or any(first < crash < last for _, crash in self.crashes)

    def crashes_around(self, publication: Publication) -> list[float]:
        """Return when crashes happened that may have lost its entries."""
        first, last = publication.appended
        return [crash for begin, crash in self.crashes if first <= crash and last >= begin]

    def acknowledged(self) -> list[Publication]:
        """Return the publications that were answered with 201."""
        return [each for each in self.publications.values() if each.acknowledged]

    def acknowledge(self, publication: Publication, answer: dict[str, Any]) -> None:
        """Record an answer. A retry must get the same answer."""
        cursors = {each["channel"]: cursor_of(each["cursor"]) for each in answer["channels"]}
        is_other = (publication.id, publication.cursors) != (answer["id"], cursors)
        if publication.acknowledged and is_other:
            if any(publication.attempts[0][0] < crash for _, crash in self.crashes):
                self._torn.add(publication.key)
                return  # the crash has lost the key of the request, of which other lines are retried
            self.complaints.append(f"{publication.key} was acknowledged twice, differently")
        if set(cursors) != set(publication.channels):
            self.complaints.append(f"{publication.key} went to {sorted(cursors)}, not to {publication.channels}")
        if not publication.acknowledged:
            publication.acknowledged = time.monotonic()
            publication.id, publication.cursors = answer["id"], cursors
            self.file(publication)

    def file(self, publication: Publication) -> None:
        """Add an acknowledged publication to its channels."""
        for channel, cursor in publication.cursors.items():
            self._in[channel].append(publication)
            place = (channel, publication.collapse_key)
            self._latest[place] = max(cursor, self._latest.get(place, cursor))
