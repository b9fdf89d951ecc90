"""Inbox counts: the items of a user's inbox, and how many of them are unread and unseen."""

import functools
import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Digest, Item
from notifier.protocol.inbox_state import Counts, Field, Flags, InboxState
from notifier.protocol.notification import rfc3339
from notifier.protocol.notification_id import key_of
from notifier.protocol.rank_list import Ranks
from notifier.protocol.turns import Turns

_MOMENT = Cursor(60_000, 0).rank  # the channels of one publication are appended up to a minute apart

_TOGETHER = 500  # exceptions that are counted without a turn for others
_FEW = 50  # types that are counted without a turn for others
_TRIES = 3  # counts of a channel that changes meanwhile


class InboxView:
    """A state together with the digests of its shared channels.

    An inbox may have a hundred thousand items. Where they are looked at one by one, that happens through `turns`, which
    yields the same and may give other threads their turn meanwhile.
    """

    def __init__(self, state: InboxState, digests: Mapping[str, Digest], turns: Turns = iter) -> None:
        self.state = state
        self._turns = turns
        self._digests = {name: digests[name] for name in state.sources if name in digests}
        self._counts: Counts | None = None

    @property
    def counts(self) -> Counts:
        """How many items are not read, and not seen, when this is first asked for."""
        if self._counts is None:
            self._counts = self._count()
        return self._counts

    def _count(self) -> Counts:
        unread, unseen = self.state.unread, self.state.unseen
        marks = self.state.marks
        for name, digest in self._turns(self._digests.items()):
            for _ in range(_TRIES):
                removals, length = digest.removals, len(digest)
                of_channel = self._without("r", marks.read, name, digest), self._without("s", marks.seen, name, digest)
                # An item that leaves in a turn may be subtracted and not counted. The state of a channel that changes
                # all the time is sent again after its last change.
                if digest.removals == removals and len(digest) == length:
                    break
            unread += of_channel[0]
            unseen += of_channel[1]
        return Counts(unread, unseen)

    @property
    def summary(self) -> dict[str, Any]:
        """Return the fields that describe the inbox in frames and HTTP responses."""
        expires = self.expires
        return {
            "counts": self.counts._asdict(),
            "revision": self.state.revision,
            "expires_at": rfc3339(expires / 1000) if expires else None,
        }

    @property
    def memberships(self) -> list[str]:
        """Return the topics that the user is a member of, as the tenant knows them."""
        return list(map(tenants.outward, self.state.topics))

    @property
    def expires(self) -> int:
        """When the next item expires, in Unix ms; 0: none expires."""
        soonest = self.state.expires
        for digest in self._digests.values():
            soonest = _earlier(soonest, digest.next_expiry)
        return soonest

    @property
    def changes_at(self) -> int:
        """When time alone changes it, in Unix ms; 0: never. An item expires, or a log to which nobody published."""
        soonest = self.expires
        if self.state.unread or self.state.unseen:
            soonest = _earlier(soonest, self.state.ends)
        for digest in self._digests.values():
            if len(digest):
                soonest = _earlier(soonest, digest.ends)
        return soonest

    def flags(self, item: Item) -> Flags:
        """Return the flags of an item of a shared channel."""
        marks = self.state.marks
        if self.state.mutes_item(item):
            return Flags(True, True, marks.has("a", item), True)
        return Flags(marks.has("s", item), marks.has("r", item), marks.has("a", item))

    def shared(self) -> Iterator[Item]:
        """Yield the items of shared channels, each notification once."""
        for item in self.everywhere():
            if not (item.is_copy and self._is_elsewhere(item)):
                yield item

    def everywhere(self, up_to: int | None = None, after: int = -1) -> Iterator[Item]:
        """Yield the items of shared channels with ranks above `after`, up to `up_to`, on each of their channels.

        Actions apply to all copies of a notification: if the user leaves one topic, the copy of another remains.
        """
        for name, digest in self._turns(self._digests.items()):
            yield from self._turns(digest.between(max(after, self._joined(name)), 1 << 62 if up_to is None else up_to))

    def unmuted_by(self, mutes: Mapping[str, int]) -> list[Item]:
        """Return the items that are not counted now, but would be if these were the only mutes."""
        lifted = InboxView(self.state._replace(mutes=mutes), self._digests, self._turns)
        return self.find(lifted._unmuted() - self._unmuted())

    def _unmuted(self) -> set[str]:
        """Return the ids of items of shared channels of which a copy is not muted, here or on the user's channel."""
        shared = {item.id for item in self.shared() if not self.state.mutes_item(item)}
        own = (item for items in self._elsewhere.values() for item in items if item.id in self.state.copies)
        return shared | {item.id for item in own if not self.state.mutes_entry("", item.type, item.cursor.ms)}

    def beyond(self, up_to: int) -> list[Item]:
        """Return copies after a rank whose first copy lies before it: channels are appended up to a minute apart."""
        near = (item for item in self.everywhere(up_to, up_to - _MOMENT) if item.is_copy)
        ids = {item.id for item in near if not self._is_elsewhere(item)}
        return [item for item in self.find(ids) if item.rank > up_to]

    def newest(self, before: int | None) -> Iterator[Item]:
        """Yield the items of shared channels up to a rank, the newest first, each notification once."""
        up_to = 1 << 62 if before is None else before
        parts = (digest.newest(self._joined(name), up_to) for name, digest in self._digests.items())
        for item in self._turns(heapq.merge(*parts, key=lambda item: (item.rank, item.channel), reverse=True)):
            if not (item.is_copy and self._is_elsewhere(item)):
                yield item

    def find(self, ids: Iterable[str]) -> list[Item]:
        """Return the items of these notifications on all shared channels."""
        wanted = [key for key in map(key_of, dict.fromkeys(ids)) if key]
        return [
            item
            for name, digest in self._turns(self._digests.items())
            for item in digest.find(wanted)
            if item.rank > self._joined(name)
        ]

    def outdated(self, now: int) -> dict[Field, list[int]]:
        """Return exceptions whose entries have left their logs, or are on channels that the user has left.

        `now` is in Unix ms. Exceptions of the last minute are kept on channels that the user has left: the same
        membership may begin again.
        """
        found = {}
        end = Cursor(max(now, 0), 0).rank - _MOMENT
        for (flag, name), ranks in self.state.marks.exceptions.items():
            digest = self._digests.get(name)
            gone = list(ranks[: bisect_left(ranks, end)]) if digest is None else digest.left(ranks, self._turns)
            if gone:
                found[flag, name] = gone
        return found

    def _joined(self, channel: str) -> int:
        topic = channels.topic_of(channel)
        return -1 if topic is None else self.state.topics[topic].rank

    def _without(self, flag: str, mark: int, name: str, digest: Digest) -> int:
        """Return how many items of a channel count because they lack a flag."""
        joined = self._joined(name)
        count = self._count_unmuted(digest, max(mark, joined))
        ranks = self.state.marks.exceptions.get((flag, name), ())
        if ranks:
            first = bisect_right(ranks, joined)
            middle = bisect_right(ranks, mark, first)
            count += self._unmuted_among(digest, ranks[first:middle]) - self._unmuted_among(digest, ranks[middle:])
        if copies := self._elsewhere.get(name):
            # A copy may have left since they were found: others have had their turn, and it is not in `count`.
            present = (copy for copy in self._turns(copies) if copy.key in digest.copies)
            count -= sum(self._is_counted(flag, copy) for copy in present)
        return count

    @functools.cached_property
    def _elsewhere(self) -> dict[str, list[Item]]:
        """The items of each shared channel that are listed by another channel instead."""
        own = {key_of(id) for id in self.state.copies}
        seen, twice = set(own), set[bytes]()
        for digest in self._turns(self._digests.values()):
            twice |= digest.copies & seen
            seen |= digest.copies
        copies: dict[bytes, list[Item]] = {}
        for name, digest in self._turns(self._digests.items()):
            joined = self._joined(name)
            for key in self._turns(digest.copies & twice):
                if (item := digest.copy(key)) and item.rank > joined:
                    copies.setdefault(key, []).append(item)
        found: dict[str, list[Item]] = {}
        for key, items in self._turns(copies.items()):
            listed = None if key in own else min(items, key=self.state.mutes_item)
            for item in items:
                if item is not listed:
                    found.setdefault(item.channel, []).append(item)
        return found

    def _unmuted_among(self, digest: Digest, ranks: Ranks) -> int:
        """Return how many items with these ranks are not muted."""
        if not self.state.mutes:
            starts = range(0, len(ranks), _TOGETHER)
            return sum(digest.count_among(ranks[start : start + _TOGETHER]) for start in self._turns(starts))
        mutes = self.state.mutes_item
        return sum(not mutes(item) for rank in self._turns(ranks) for item in digest.between(rank - 1, rank))

    def _is_counted(self, flag: str, item: Item) -> bool:
        return not (self.state.marks.has(flag, item) or self.state.mutes_item(item))

    def _count_unmuted(self, digest: Digest, after: int) -> int:
        """Return how many items above a rank are not muted, without looking at each of them."""
        mutes = self.state.mutes
        if not mutes:
            return digest.behind(after)
        since = mutes.get(f"topic:{channels.topic_of(digest.channel)}")
        end = 1 << 62 if since is None else Cursor(since, 0).rank
        muted = self._muted_types
        found = muted.keys() & digest.types(self._turns).keys() if muted else ()
        count = digest.count(after, end)
        for type in self._turns(found) if len(found) > _FEW else found:
            count -= digest.count_type(type, max(after, muted[type]), end)
        return count

    @functools.cached_property
    def _muted_types(self) -> dict[str, int]:
        """The muted types, with the rank above which their items are muted."""
        names = ((name.removeprefix("type:"), since) for name, since in self.state.mutes.items() if name[:5] == "type:")
        return {type: Cursor(since, 0).rank - 1 for type, since in names}

    def _is_elsewhere(self, item: Item) -> bool:
        """Return whether the notification is listed by another channel: the first one that is not muted."""
        if item.id in self.state.copies:
            return True
        key = key_of(item.id)
        copies = (
            copy
            for name, digest in self._digests.items()
            if (copy := digest.copy(key)) and copy.rank > self._joined(name)
        )
        return min(copies, key=self.state.mutes_item, default=item).channel != item.channel


def _earlier(one: int, other: int) -> int:
    """Return the earlier of two times; 0 means never."""
    return min(one, other) if one and other else one or other
