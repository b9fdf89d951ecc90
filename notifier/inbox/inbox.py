"""The inbox: how it stands for each user, what it lists, and what is done with it. Users' channels have it in Redis.

Items of shared channels are in no user's keys: a digest of the channel and the user's marks say what is unread.
"""

import contextlib
import heapq
import itertools
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.errors import BrokerUnavailable
from notifier.inbox.mutes import names_of
from notifier.protocol import channel as channels
from notifier.protocol import cursor, notification
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Digest, Item, Row
from notifier.protocol.entry import MUTED
from notifier.protocol.inbox_query import Place, Query
from notifier.protocol.inbox_request import Target
from notifier.protocol.inbox_view import ACTIONS, Flags, InboxState, InboxView, Marks, read_marks, read_state
from notifier.settings import Settings
from notifier.telemetry import metrics

_PAGE = 500  # rows of a log that a digest is read by
_BATCH = 100  # items whose bodies are looked at together, at least
_MOST_DIGESTED = 200_000  # items in digests, some 300 bytes each
_LIFE = 3_600_000  # ms that what is written about a log outlives it


class Listed(NamedTuple):
    """One item of a list; `body` is the notification as it goes out."""

    cursor: Cursor
    channel: str
    body: bytes
    flags: Flags


class Listing(NamedTuple):
    """A page of a list, from where the next one goes on, and the view that it was made from.

    `cursor` is up to where nothing can have been missed that came while the list was read.
    """

    items: list[Listed]
    next: Place | None
    view: InboxView
    cursor: Cursor


class Change(NamedTuple):
    """What became of an action: the view after it, whether it changed anything, and the ids that were not found."""

    view: InboxView
    changed: bool
    unknown: list[str]


class Alteration(NamedTuple):
    """A change of a user's `topics` or `mutes`: what to add, with its value, and what to remove.

    `replace`: and nothing else stays. `most`: so many may be there, 0 for any number.
    """

    user: str
    what: str
    add: Mapping[str, str] = {}
    remove: tuple[str, ...] = ()
    replace: bool = False
    most: int = 0


class Inbox:
    """The inboxes of all users, as one worker sees them. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._digests: OrderedDict[str, Digest] = OrderedDict()  # the one that was used last comes last
        # An entry that is too old leaves its log with the next one, or with the whole log: after twice its age at most.
        self.lifetime = 2 * (1000 * max(settings.user_history_age, settings.topic_history_age) + _LIFE)

    def states(self, users: Iterable[str]) -> list[InboxState]:
        """Return how the inboxes of users stand."""
        commands = [self._store.call("state", (self._base(user),)) for user in users]
        return [read_state(require(reply)) for reply in self._store.carry_out(commands)]

    def view(self, user: str) -> InboxView:
        """Return the view of a user, as it is now."""
        [state] = self.states([user])
        return self.views([state])[0]

    def views(self, states: Iterable[InboxState]) -> list[InboxView]:
        """Return views: each channel is looked at once."""
        states = list(states)
        digests = self.digests(dict.fromkeys(name for state in states for name in state.sources))
        return [InboxView(state, digests) for state in states]

    def digests(self, names: Iterable[str]) -> dict[str, Digest]:
        """Return digests that have all that was published before the call."""
        found = {name: self._digests[name] if name in self._digests else Digest(name) for name in names}
        for name, digest in found.items():
            self._digests[name] = digest
            self._digests.move_to_end(name)
        behind = list(found)
        while behind:
            behind = self._follow([found[name] for name in behind])
        now = int(time.time() * 1000)
        for digest in found.values():
            digest.pass_time(now)
        self._drop_digests()
        return found

    def forget_digests(self) -> None:
        """Read all logs anew when they are asked for: they may have lost something without ending earlier."""
        self._digests.clear()

    def page(self, user: str, query: Query) -> Listing:
        """Return a page of a user's inbox, the newest items first."""
        # What is published from now on has no earlier time than this, whatever channel is looked at when.
        commands = [
            pack("TIME"),
            self._store.call("state", (self._base(user),)),
            self._own(user, query, query.before),
        ]
        time_of_redis, state, own = map(require, self._store.carry_out(commands))
        now = int(time_of_redis[0]) * 1000 + int(time_of_redis[1]) // 1000
        [view] = self.views([read_state(state)])
        batch = self._batch(user, view, query, query.before, own)
        found = self._with_bodies(batch, query)
        while len(found) <= query.limit and len(batch) == _batch_size(query):
            before = Place(batch[-1].item.cursor, batch[-1].item.channel)
            [own] = map(require, self._store.carry_out([self._own(user, query, before)]))
            batch = self._batch(user, view, query, before, own)
            found += self._with_bodies(batch, query)
        items, more = found[: query.limit], found[query.limit :]
        following = Place(items[-1].cursor, items[-1].channel) if more else None
        reached = [item.cursor for item in items if item.cursor.ms < now]
        return Listing(items, following, view, max([Cursor(now - 1, 0), *reached]))

    def act(self, user: str, action: str, target: Target) -> Change:
        """Carry out an action on items of a user's inbox."""
        view = self.view(user)
        items = self._aimed_at(view, action, target)
        command = self._mark(user, action, target, items)
        changed, found, before, after = require(self._store.carry_out([command])[0])
        metrics.ACTIONS.inc()
        state = read_state(after)
        [view] = self.views([state])
        if changed:
            self._count_receipts(view, action, target, read_marks(before), state.marks, items)
        known = {id.decode() for id in found}
        return Change(view, bool(changed), [id for id in target.ids if id not in known])

    def acknowledge(self, acks: dict[str, tuple[Cursor, Cursor | None]]) -> None:
        """Note what users' clients have: per user up to which entry, and after which one."""
        commands = [
            self._store.call("ack", (self._base(user),), (str(upto), str(since or ""), self.lifetime))
            for user, (upto, since) in acks.items()
        ]
        replies = self._store.carry_out(commands)
        reached = {user: tuple(map(int, require(reply))) for user, reply in zip(acks, replies, strict=True)}
        fresh = {user: ranks for user, ranks in reached.items() if ranks[1] > ranks[0]}
        if not fresh:
            return
        deliveries: dict[tuple[str, str], int] = {}
        views = self.views(self.states(fresh))
        for view, (user, (after, up_to)) in zip(views, fresh.items(), strict=True):
            since = acks[user][1]
            for item in view.everywhere(up_to, after if since is None else max(after, since.rank)):
                key = (item.channel, f"{item.entry}:d")
                deliveries[key] = deliveries.get(key, 0) + 1
        self._count(deliveries)

    def alter(self, alterations: Iterable[Alteration]) -> list[tuple[int, int]]:
        """Change topics or mutes of users; return how many were added, -1 for too many, and taken away."""
        commands = []
        for user, what, add, remove, replace, most in alterations:
            pairs = [part for pair in add.items() for part in pair]
            words = (what, int(replace), self.lifetime, len(add), most, *pairs, *remove)
            commands.append(self._store.call("change", (self._base(user),), words))
        return [tuple(require(reply)) for reply in self._store.carry_out(commands)]

    def set_mutes(self, user: str, types: Iterable[str], topics: Iterable[str]) -> None:
        """Let a user be spared these types and topics from now on, and no others."""
        names = names_of(types, topics)
        view = self.view(user)
        # What was muted stays uncounted when it is no longer.
        spared = view.muted_until({n: t for n, t in view.state.mutes.items() if n in names})
        if spared:
            _, _, before, after = require(self._store.carry_out([self._mark(user, "read", Target(), spared)])[0])
            marks = read_marks(before), read_state(after).marks
            self._count_receipts(view, "read", Target(), *marks, spared)
        self.alter([Alteration(user, "mutes", dict.fromkeys(names, "now"), replace=True)])

    def _follow(self, digests: list[Digest]) -> list[str]:
        """Let digests follow their logs by a page; return those that have more before them."""
        asked = [digest.last for digest in digests]
        commands = [
            self._store.call("digest", (self._store.sharded(digest.channel),), (str(digest.last), _PAGE))
            for digest in digests
        ]
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        behind = []
        for digest, last, reply in zip(digests, asked, replies, strict=True):
            news = require(reply)
            if news and cursor.parse(news[1]) < last:  # the log has lost its end, in a failover
                digest.reset()
            if digest.last < last:  # reset, by this reader or another one: what was read would leave a hole
                behind.append(digest.channel)
                continue
            if not news:
                continue
            first, logged, complete, rows, ends = news
            if first or cursor.parse(logged) >= digest.last:  # else another reader has seen a newer log
                digest.follow(first, (Row(*row) for row in rows))
                digest.ends = max(ends, 0)
            if not complete:
                behind.append(digest.channel)
        return behind

    def _drop_digests(self) -> None:
        size = sum(len(digest.items) for digest in self._digests.values())
        while size > _MOST_DIGESTED and len(self._digests) > 1:
            _, digest = self._digests.popitem(last=False)
            size -= len(digest.items)

    def _batch(
        self, user: str, view: InboxView, query: Query, before: Place | None, own: list[list[bytes]]
    ) -> list["_Candidate"]:
        """Return the next items of a list that may fit the query, without their bodies. `_own` brought `own`."""
        channel = channels.of_user(user)
        owned = [
            _Candidate(_own_item(channel, entry.decode()), Flags(*(letter in flags for letter in b"sra")))
            for entry, flags in (own if query.wants_channel(channel) else [])
        ]
        shared = (
            _Candidate(item, flags)
            for item in view.newest(None if before is None else before.cursor.rank)
            if (before is None or (item.rank, item.channel) < before.key)
            and query.wants(item, flags := view.flags(item))
        )
        return list(itertools.islice(heapq.merge(owned, shared, key=_key, reverse=True), _batch_size(query)))

    def _own(self, user: str, query: Query, before: Place | None) -> bytes:
        """Return the command that lists items of the user's own channel."""
        bound = "+inf"
        if before is not None:
            bound = f"{'' if channels.of_user(user) < before.channel else '('}{before.cursor.rank}"
        return self._store.call("list", (self._base(user),), (bound, _batch_size(query), query.status))

    def _with_bodies(self, batch: list["_Candidate"], query: Query) -> list[Listed]:
        """Return items with their notifications; what has left its log meanwhile is left out."""
        commands = [
            pack("XRANGE", self._store.of(each.item.channel, "log"), each.item.entry, each.item.entry) for each in batch
        ]
        found = []
        for (item, flags), reply in zip(batch, self._store.execute(commands), strict=True):
            for _, fields in require(reply):
                if query.wants_body(fields[1]):
                    flags = flags._replace(muted=flags.muted or fields[0] == MUTED)
                    found.append(Listed(item.cursor, item.channel, fields[1], flags))
        return found

    def _aimed_at(self, view: InboxView, action: str, target: Target) -> list[Item]:
        """Return the items of shared channels that an action changes one by one."""
        if target.up_to is None:
            return view.find(target.ids)
        after = -1
        if ACTIONS[action].on:
            # What lies before is covered by the mark, but for the last moments, of which the script knows best.
            after = Cursor(min(target.up_to.ms, self._clock.ms - 5000), 0).rank
        return [*view.everywhere(target.up_to.rank, after), *view.beyond(target.up_to.rank)]

    def _mark(self, user: str, action: str, target: Target, items: list[Item]) -> bytes:
        times = [notification.time_of(id) or 0 for id in target.ids]
        pairs = [part for item in items for part in (item.id, f"{item.entry} {item.channel}")]
        flags, on = ACTIONS[action]
        words = (action, flags, int(on), str(target.up_to or ""), min(times, default=0), self.lifetime, len(target.ids))
        return self._store.call("mark", (self._base(user),), (*words, *target.ids, *pairs))

    def _count_receipts(
        self, view: InboxView, action: str, target: Target, before: Marks, after: Marks, items: list[Item]
    ) -> None:
        """Count how many users have read or archived what is shared."""
        affected = items if target.up_to is None else view.everywhere(target.up_to.rank)
        changes: dict[tuple[str, str], int] = {}
        for item in affected:
            for flag in set(ACTIONS[action].flags) - {"s"}:
                change = after.has(flag, item) - before.has(flag, item)
                if change:
                    changes[item.channel, f"{item.entry}:{flag}"] = change
        # The action is done; what is merely counted must not make it fail.
        with contextlib.suppress(BrokerUnavailable):
            self._count(changes)

    def _count(self, changes: dict[tuple[str, str], int]) -> None:
        commands = [
            pack("HINCRBY", self._store.of(channel, "receipts"), field, change)
            for (channel, field), change in changes.items()
        ]
        for channel in {channel for channel, _ in changes}:
            commands.append(pack("PEXPIRE", self._store.of(channel, "receipts"), self.lifetime))
        self._store.tell(commands)

    def _base(self, user: str) -> str:
        return self._store.sharded(channels.of_user(user))


class _Candidate(NamedTuple):
    item: Item
    flags: Flags


def _batch_size(query: Query) -> int:
    """Return how many items are looked at together: one more than a page has, and many where few may be wanted."""
    return 1 + (max(query.limit, _BATCH) if query.needs_bodies else query.limit)


def _key(candidate: _Candidate) -> tuple[int, str]:
    return candidate.item.rank, candidate.item.channel


def _own_item(channel: str, entry: str) -> Item:
    return Item(channel, entry, cursor.parse(entry).rank, "")
