"""Spans: when a user was a member of a topic, or had muted something, as far as requests and answers show it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from chaos.ledger import Publication


@dataclass
class Span:
    """A time, in monotonic seconds. It began between `began` and `certain`, and ended between `ending` and `ended`.

    Each pair is a request and its answer. `began_ms` is when the request was sent, in Unix ms.
    """

    began: float
    began_ms: int = 0
    certain: float = math.inf
    ending: float = math.inf
    ended: float = math.inf

    def covers(self, publication: Publication) -> bool:
        """Return whether all entries of a publication were certainly appended within it."""
        first, last = publication.appended
        return self.certain < first and last < self.ending

    def may_cover(self, publication: Publication) -> bool:
        """Return whether an entry of a publication may have been appended within it."""
        first, last = publication.appended
        return first <= self.ended and last >= self.began


class Spans:
    """The spans of one user by name: of a topic, or of what is muted."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Span]] = {}

    @property
    def names(self) -> Iterable[str]:
        """Return all names that ever had a span."""
        return self._by_name.keys()

    def begins(self, name: str, at: float, at_ms: int = 0) -> None:
        """Note that a request that begins a span is sent, unless one has begun."""
        if not self.is_open(name):
            self._by_name.setdefault(name, []).append(Span(at, at_ms))

    def has_begun(self, name: str, at: float) -> None:
        """Note the answer."""
        span = self._by_name[name][-1]
        span.certain = min(span.certain, at)

    def ends(self, name: str, at: float) -> None:
        """Note that a request that ends the span is sent, if there is one."""
        if self.is_open(name):
            span = self._by_name[name][-1]
            span.ending = min(span.ending, at)

    def has_ended(self, name: str, at: float) -> None:
        """Note the answer."""
        if self.is_open(name):
            self._by_name[name][-1].ended = at

    def is_open(self, name: str) -> bool:
        """Return whether the last span of a name has not certainly ended."""
        spans = self._by_name.get(name)
        return bool(spans) and spans[-1].ended == math.inf

    def covering(self, name: str, publication: Publication) -> Span | None:
        """Return the span in which a publication was certainly appended; None: there is none, or it is uncertain."""
        return next((span for span in self._by_name.get(name, ()) if span.covers(publication)), None)

    def may_cover(self, name: str, publication: Publication) -> list[Span]:
        """Return the spans in which a publication may have been appended."""
        return [span for span in self._by_name.get(name, ()) if span.may_cover(publication)]
