"""Rounds: which users are sent the state of their inbox next, and when.

Users whose own inbox has changed are urgent. Changes of shared channels concern many users at once: these are served
later, at a pace that leaves most of the time to others. An inbox also changes when an item expires.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from notifier.loop import give_way

_ROUND = 64  # users per round: enough to share a request to Redis, few enough to delay others only for a moment
_SHARE = 4  # rounds that are not urgent take one part in so many of the time
_RETRY = 200  # ms until Redis is asked again about an expiry that, by its clock, has not come yet
_MOST_CHANGED = 200  # changes and their ids in a state frame; the pages of clients have at most 100 items
_OUTDATED = 1000  # expiries that no longer count, before they are removed


Change = Mapping[str, Any]  # of an inbox, as frames have it


class Round(NamedTuple):
    """Users to be served together, with the changes to be sent to each; those in `check` may have another state."""

    changes: dict[str, list[Change]]
    check: set[str]
    is_urgent: bool


class Rounds:
    """A queue of users. One thread takes rounds from it; all other methods may be called from any thread.

    `users_of` returns the users whom entries of a shared channel concern; it is called by the thread that takes rounds.
    """

    def __init__(self, users_of: Callable[[str, bool], Iterable[str]] = lambda name, is_item: ()) -> None:
        self._users_of = users_of
        self._shared: dict[str, bool] = {}  # shared channel -> whether items were added or removed
        self._urgent: dict[str, _Changes] = {}  # by user
        self._later: dict[str, bool] = {}  # user -> whether the state may have changed
        self._expiries: list[tuple[int, int, str]] = []  # when it is due, the expiry (both in Unix ms), user; a heap
        self._expected: dict[str, int] = {}  # user -> the expiry that counts
        self._singly = 0  # so many rounds have one user only
        self._filled = threading.Event()
        self._hurried = threading.Event()

    @property
    def is_empty(self) -> bool:
        """Whether nobody has to be served now, as far as the users of shared channels are known."""
        return not (self._urgent or self._later)

    def put_urgent(self, user: str, changes: Iterable[Change] = ()) -> None:
        """Serve a user in one of the next rounds; `changes` are sent with the state, unless they are too many."""
        self._urgent.setdefault(user, _Changes()).add(changes)
        self._filled.set()
        self._hurried.set()

    def put_later(self, users: Iterable[str]) -> None:
        """Serve users when nothing is urgent. Their state in Redis has not changed."""
        later = self._later
        for user in users:
            later.setdefault(user, False)
        self._filled.set()

    def put_shared(self, name: str, is_item: bool) -> None:
        """Serve the users whom new entries of a shared channel concern, when nobody else waits.

        A channel may have all connections of the worker, so they are not looked at here, and once for many entries.
        """
        self._shared[name] = is_item or self._shared.get(name, False)
        self._filled.set()

    def spread(self) -> None:
        """Queue the users of shared channels with new entries. Entries that come meanwhile are for the next time."""
        for name in list(self._shared):
            if self._urgent:
                return
            self.put_later(self._users_of(name, self._shared.pop(name)))

    def check_later(self, user: str) -> None:
        """Serve a user when nothing is urgent. The state in Redis may have changed."""
        self._later[user] = True
        self._filled.set()

    def expect(self, user: str, expiry: int) -> None:
        """Check a user's state when time alone will have changed it, in Unix ms; 0: it will not."""
        if not expiry:
            self._expected.pop(user, None)
        elif expiry != self._expected.get(user):
            self._expected[user] = expiry
            # The clock of Redis may be behind this one: the next check waits at least for a moment.
            due = max(expiry, _now() + _RETRY)
            heapq.heappush(self._expiries, (due, expiry, user))
            if len(self._expiries) > 2 * len(self._expected) + _OUTDATED:
                self._expiries = sorted({each for each in self._expiries if self._counts(each)})
            self._filled.set()

    def next(self) -> Round:
        """Wait until there is somebody to serve, and return the next round."""
        self._expire()
        while self.is_empty:
            self._filled.clear()
            self.spread()
            if not self.is_empty:
                break
            self._filled.wait(max(self._expiries[0][0] - _now(), 0) / 1000 + 0.01 if self._expiries else None)
            self._expire()
        is_urgent = bool(self._urgent)
        users = list(itertools.islice(self._urgent or self._later, 1 if self._singly else _ROUND))
        self._singly = max(self._singly - 1, 0)
        changes = {user: found.sent if (found := self._urgent.pop(user, None)) else [] for user in users}
        check = {user for user in users if self._later.pop(user, False) or is_urgent}
        return Round(changes, check, is_urgent)

    def put_back(self, failed: Round) -> None:
        """Serve the users of a round that failed once more, one by one: the failure may concern only one of them."""
        for user, changes in failed.changes.items():
            later = self._urgent.get(user)
            self._urgent[user] = _Changes([*changes, *later.sent] if later else changes)
        self._singly = len(failed.changes)

    def rest(self, served: Round, seconds: float) -> None:
        """Leave the processor to others after a round that took some seconds, but not while somebody is urgent."""
        self._hurried.clear()
        if served.is_urgent or self._urgent:
            give_way()
        else:
            self._hurried.wait((_SHARE - 1) * seconds)

    def _expire(self) -> None:
        now = _now()
        while self._expiries and self._expiries[0][0] <= now:
            expiry = heapq.heappop(self._expiries)
            if self._counts(expiry):
                del self._expected[expiry[2]]
                self.check_later(expiry[2])

    def _counts(self, expiry: tuple[int, int, str]) -> bool:
        return self._expected.get(expiry[2]) == expiry[1]


class _Changes:
    """The changes of an inbox that wait for the next state frame.

    If they are too many, none of them is sent: by the revision, clients notice that, and fetch the list. Otherwise one
    user could have the worker write a megabyte to each of a thousand connections.
    """

    __slots__ = ("_weight", "sent")

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.sent: list[Change] = []
        self._weight = 0
        self.add(changes)

    def add(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._weight += 1 + len(change.get("ids", ()))
            self.sent.append(change)
        if self._weight > _MOST_CHANGED:
            self.sent = []


def _now() -> int:
    return int(time.time() * 1000)
