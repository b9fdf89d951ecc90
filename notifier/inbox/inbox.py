"""The inbox: the state of each user's inbox, and the actions that change it.

Redis has it in the keys of the user's channel. Items of shared channels are in no user's keys: whether one is unread
follows from the digest of its channel and the user's marks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.alteration import Alteration
from notifier.inbox.digests import Digests
from notifier.inbox.mutes import names_of
from notifier.inbox.receipt_counts import ReceiptCounts
from notifier.loop import in_turns
from notifier.protocol import channel as channels
from notifier.protocol import notification, rank_list
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_frames import Acknowledge
from notifier.protocol.inbox_state import ACTIONS, InboxState, read_marks, read_mutes, read_state
from notifier.protocol.inbox_target import Target
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

_MARGIN = 3_600_000  # ms that the keys of an inbox outlive the entries that they are about
_RECENT = 5000  # ms before now in which the script, not the mark, decides which items an action covers


class Change(NamedTuple):
    """The result of an action: the view after it, whether anything changed, and the ids that are not in the inbox."""

    view: InboxView
    changed: bool
    unknown: list[str]


class Inbox:
    """The inboxes of all users. Every method may raise `BrokerUnavailable`."""

    def __init__(
        self,
        settings: BrokerSettings,
        store: Store,
        digests: Digests,
        clock: Clock,
        count_items: Callable[[str, int], None] = lambda user, number: None,
    ) -> None:
        self._store = store
        self._digests = digests
        self._clock = clock
        self._count_items = count_items  # of an action, whose cost grows with them
        # An entry that is too old leaves its log with the next one, or with the whole log: after twice its age at most.
        self.lifetime = 2 * (1000 * max(settings.user_history_age, settings.topic_history_age) + _MARGIN)
        self._receipts = ReceiptCounts(store, self.lifetime)

    def states(self, users: Iterable[str]) -> list[InboxState]:
        """Return the states of users' inboxes."""
        asked = list(users)
        commands = [self._store.call("state", (self._base(user),)) for user in asked]
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        return [read_state(user, require(reply), in_turns) for user, reply in zip(asked, replies, strict=True)]

    def revisions(self, users: Iterable[str]) -> list[int]:
        """Return the revisions of users' inboxes."""
        commands = [pack("HGET", self._store.of(channels.of_user(user), "state"), "revision") for user in users]
        replies = self._store.execute(commands, pipeline=self._store.reading)
        return [int(require(reply) or 0) for reply in replies]

    def mutes(self, users: Iterable[str]) -> list[dict[str, int]]:
        """Return the mutes of users, each with the time when it began, in Unix ms."""
        commands = [pack("HGETALL", self._store.of(channels.of_user(user), "mutes")) for user in users]
        replies = self._store.execute(commands, pipeline=self._store.reading)
        return [read_mutes(require(reply)) for reply in in_turns(replies)]

    def view(self, user: str) -> InboxView:
        """Return the view of a user's inbox."""
        [state] = self.states([user])
        return self._digests.view(user, state)

    def act(self, user: str, action: str, target: Target) -> Change:
        """Carry out an action on items of a user's inbox."""
        self._count_items(user, len(target.ids))
        view = self.view(user)
        items = self._aimed_at(view, action, target)
        command = self._mark(view, user, action, target, items)
        changed, found, before, after, own = require(self._store.carry_out([command])[0])
        if target.up_to is not None:
            self._count_items(user, own + len(items))
        metrics.ACTIONS.inc()
        state = read_state(user, after, in_turns)
        [view] = self._digests.views([state])
        if changed:
            earlier = read_marks(before, in_turns)
            if target.up_to is not None:
                items = [*view.everywhere(target.up_to.rank, earlier.same_until(state.marks))]
            self._receipts.count_action(action, items, earlier, state.marks)
        known = {id.decode() for id in found}
        return Change(view, bool(changed), [id for id in target.ids if id not in known])

    def acknowledge(self, acks: Mapping[str, Acknowledge]) -> None:
        """Record what clients have received, by user."""
        commands = [
            self._store.call("ack", (self._base(user),), (str(ack.cursor), str(ack.since), self.lifetime))
            for user, ack in acks.items()
        ]
        replies = self._store.carry_out(commands)
        reached = {user: tuple(map(int, require(reply))) for user, reply in zip(acks, replies, strict=True)}
        ranges = {}
        for user, (after, up_to) in reached.items():
            if up_to > after:
                ranges[user] = (max(after, acks[user].since.rank), up_to)
        if ranges:
            self._receipts.count_deliveries(self._shared(ranges))

    def alter(self, alterations: Iterable[Alteration]) -> list[tuple[int, int]]:
        """Change topics or mutes of users; return how many names were added (-1: too many) and removed."""
        commands = []
        for user, what, add, remove, replace, most in alterations:
            pairs = [part for pair in add.items() for part in pair]
            words = (what, int(replace), self.lifetime, len(add), most, *pairs, *remove)
            commands.append(self._store.call("change", (self._base(user),), words))
        return [tuple(require(reply)) for reply in self._store.carry_out(commands)]

    def set_mutes(self, user: str, types: Iterable[str], topics: Iterable[str]) -> None:
        """Mute these types and topics for a user from now on, and no others.

        Items that arrived while muted stay read when their mute is lifted.
        """
        names = names_of(types, topics)
        view = self.view(user)
        lifted = view.unmuted_by({n: t for n, t in view.state.mutes.items() if n in names})
        if lifted:
            command = self._mark(view, user, "read", Target(), lifted)
            _, _, before, after, _ = require(self._store.carry_out([command])[0])
            marks = read_marks(before, in_turns), read_state(user, after, in_turns).marks
            self._receipts.count_action("read", lifted, *marks)
        self.alter([Alteration(user, "mutes", dict.fromkeys(names, "now"), replace=True)])

    def _shared(self, ranges: Mapping[str, tuple[int, int]]) -> Iterator[Item]:
        """Yield the items of shared channels that lie in a range of places, each range in one user's inbox."""
        views = self._digests.views(self.states(ranges))
        for view, (after, up_to) in zip(views, ranges.values(), strict=True):
            yield from view.everywhere(up_to, after)

    def _aimed_at(self, view: InboxView, action: str, target: Target) -> list[Item]:
        """Return the items of shared channels that an action changes one by one."""
        if target.up_to is None:
            return view.find(target.ids)
        after = -1
        if ACTIONS[action].on:
            # The mark covers all earlier items. How far it reaches within the last moments only the script knows.
            after = Cursor(min(target.up_to.ms, self._clock.ms - _RECENT), 0).rank
        return [*view.everywhere(target.up_to.rank, after), *view.beyond(target.up_to.rank)]

    def _mark(self, view: InboxView, user: str, action: str, target: Target, items: list[Item]) -> bytes:
        """Return the command that carries out an action; it also removes exceptions that are outdated in the view."""
        named = [id for id in target.ids if notification.time_of(id) is not None]  # the others are unknown
        ids = () if target.up_to else tuple({item.id: None for item in items})
        ranks: dict[str, set[int]] = {}
        for item in in_turns(items):
            ranks.setdefault(item.channel, set()).add(item.rank)
        lists = [(name, sorted(found)) for name, found in ranks.items()]
        lists += [(" ".join(field), left) for field, left in view.outdated(self._clock.ms).items()]
        pairs = [part for name, found in lists for part in (name, rank_list.pack(found))]
        flags, on = ACTIONS[action]
        words = (action, flags, int(on), str(target.up_to or ""), self.lifetime, len(named), len(ids), len(ranks))
        return self._store.call("mark", (self._base(user),), (*words, *named, *ids, *pairs))

    def _base(self, user: str) -> str:
        return self._store.sharded(channels.of_user(user))
