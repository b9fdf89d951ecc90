"""Ended keys: the ids of API keys that were revoked or have expired, as a worker remembers them.

Only ids and times are remembered: a record takes up to 36 KB. Redis knows the keys, too, so an id that is forgotten is
still rejected. The memory of a worker matters if Redis loses its last changes: a revoked key stays revoked then.
"""

from typing import NamedTuple

MOST = 20_000  # ids: about 6 MB


class _Ended(NamedTuple):
    group: str
    until: int  # Unix ms
    is_revoked: bool


class EndedKeys:
    """At most `most` ids. Beyond that, the group with most ids loses its oldest one: it forgets nothing of others."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._ended: dict[str, _Ended] = {}
        self._groups: dict[str, dict[str, None]] = {}  # ids, the oldest first

    def __contains__(self, id: object) -> bool:
        return id in self._ended

    def __len__(self) -> int:
        return len(self._ended)

    def is_revoked(self, id: str) -> bool:
        """Return whether a key is known to be revoked: no record makes it valid again."""
        return id in self._ended and self._ended[id].is_revoked

    def add(self, id: str, group: str, until: int, *, is_revoked: bool) -> None:
        """Note a key that has ended, until a time in Unix ms."""
        self.forget(id)
        self._ended[id] = _Ended(group, until, is_revoked)
        self._groups.setdefault(group, {})[id] = None
        if len(self._ended) > self._most:
            largest = max(self._groups.values(), key=len)
            self.forget(next(iter(largest)))

    def forget(self, id: str) -> None:
        """Forget a key, if it is there."""
        ended = self._ended.pop(id, None)
        if ended:
            ids = self._groups[ended.group]
            del ids[id]
            if not ids:
                del self._groups[ended.group]

    def sweep(self, now: int) -> None:
        """Forget the keys whose time is over at `now`, in Unix ms."""
        for id in [id for id, ended in self._ended.items() if ended.until < now]:
            self.forget(id)
