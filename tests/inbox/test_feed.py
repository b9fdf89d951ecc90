"""The feed: which states are sent to which connections, and when."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.connections.hub import Channel, Hub
from notifier.errors import BrokerUnavailable, Disconnect, Disconnected
from notifier.inbox import rounds as rounds_module
from notifier.inbox.feed import InboxFeed
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import InboxStates, known
from notifier.protocol import channel as channels
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.digest import Digest
from notifier.protocol.entry import EPHEMERAL, HISTORY, MUTED, NOTIFICATION, REMOVED, Entry, Row
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import NOTHING, InboxState
from tests.kit.ids import id_of
from tests.kit.turns import Turns
from tests.kit.waiting import eventually

READ = {"action": "read", "ids": ["x"]}


class Connection:
    """A connection that remembers what it was sent."""

    def __init__(self, user: str | None) -> None:
        self.session = SimpleNamespace(identity=user and SimpleNamespace(user=user), is_welcome=True)
        self.memberships: tuple[str, ...] | None = None
        self.is_open = True
        self.states: list[dict[str, Any]] = []
        self.closed: Disconnect | None = None

    def send_state(self, frame: bytes) -> None:
        self.states.append(json.loads(frame))

    def close(self, disconnect: Disconnect) -> None:
        self.closed, self.is_open = disconnect, False

    @property
    def unread(self) -> list[int]:
        """How many items were unread, in all states."""
        return [state["counts"]["unread"] for state in self.states]


class Logs:
    """A fake of the digests: the items of shared channels."""

    def __init__(self) -> None:
        self.digests: dict[str, Digest] = {}
        self.forgotten = 0

    def publish(self, name: str, ms: int, ends: int = 0) -> None:
        digest = self.digests.setdefault(name, Digest(name))
        entry = b"%d-0" % ms
        digest.follow(b"0-1", [Row(entry, NOTIFICATION, id_of(f"{name[-8:]} {ms}").encode(), b"", b"", b"", b"")])
        digest.ends = ends

    def views(self, states: Iterable[InboxState]) -> list[InboxView]:
        return [InboxView(state, self.digests) for state in states]

    def forget(self) -> None:
        self.forgotten += 1


class Worker:
    """A feed without its thread, and all that it uses: `states` is what Redis has."""

    def __init__(self) -> None:
        self.states: dict[str, InboxState] = {}
        self.asked: list[str] = []
        self.fails = False
        self.meanwhile: Callable[[], object] = lambda: None
        self.logs = Logs()
        self.enrolled: list[tuple[Connection, dict[str, Cursor]]] = []
        self.mutes: Mutes[Any] = Mutes()
        self.hub: Hub[Any] = Hub()
        logs: Any = self.logs
        enroller: Any = self
        states = InboxStates(self._read, self._revisions)
        self.feed = InboxFeed(states, logs, self.hub, self.mutes, enroller)
        hidden: Any = self.feed
        self.step, self._rounds = hidden._step, hidden._rounds

    def _read(self, users: Iterable[str]) -> list[InboxState]:
        users = list(users)
        self.asked += users
        replies = [self.states.get(user, NOTHING) for user in users]
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if self.fails:
            raise BrokerUnavailable()
        return replies

    def _revisions(self, users: Iterable[str]) -> list[int]:
        return [self.states.get(user, NOTHING).revision for user in users]

    def enroll(self, connection: Any, topics: dict[str, Cursor]) -> None:
        connection.memberships = topics
        self.enrolled.append((connection, topics))

    def attach(self, user: str, *topics: str, is_welcome: bool = True) -> Any:
        """Return a connection of a user that has been, or is about to be, welcomed."""
        connection: Any = Connection(user)
        connection.session.is_welcome = False
        for name in (channels.of_user(user), "all", *map(channels.of_topic, topics)):
            self.hub.join(name, connection)
            self.hub[name].confirm(BEGINNING)
        if is_welcome:
            self.welcome(connection)
        return connection

    def welcome(self, connection: Any) -> InboxView:
        self.feed.prepare([connection])
        view = self.feed.views([connection])[connection]
        connection.session.is_welcome = True
        return view

    @property
    def expected(self) -> Mapping[str, int]:
        """The expiries that the feed waits for, by user."""
        expected: dict[str, int] = self._rounds._expected
        return expected

    def channel(self, user: str) -> Channel[Any]:
        return self.hub[channels.of_user(user)]

    def set(self, user: str, **fields: Any) -> None:
        self.states[user] = self.states.get(user, NOTHING)._replace(**fields)

    def receive(self, name: str, kind: bytes = NOTIFICATION, ms: int = 1000) -> None:
        """Receive a published entry of a channel."""
        if self.hub.get(name):
            self.feed.received(self.hub[name], [Entry(b"%d-0" % ms, b"", kind, b"{}")])

    def act(self, user: str, change: Mapping[str, Any] = READ) -> None:
        self.feed.changed(self.channel(user), json.dumps(change).encode())

    def run(self) -> int:
        """Serve all waiting users; return the number of rounds."""
        count = 0
        self._rounds.spread()
        while not self._rounds.is_empty:
            self.step()
            self._rounds.spread()
            count += 1
        return count


@pytest.fixture
def worker() -> Worker:
    return Worker()


class TestWhatIsSent:
    def test_an_action(self, worker: Worker) -> None:
        """All connections of the user are sent the change, with the counts after it; others are sent nothing."""
        devices, other = [worker.attach("ada"), worker.attach("ada")], worker.attach("bob")
        worker.set("ada", unread=3, unseen=2, revision=7)
        worker.act("ada")
        worker.run()
        [state] = devices[0].states
        assert state == {
            "type": "state",
            "counts": {"unread": 3, "unseen": 2},
            "revision": 7,
            "expires_at": None,
            "changes": [READ],
            "memberships": [],
        }
        assert devices[1].states == [state]
        assert other.states == []

    def test_changes_of_a_round(self, worker: Worker) -> None:
        """Several actions before a round are sent in one frame, in order."""
        device = worker.attach("ada")
        changes = [READ | {"ids": [str(number)]} for number in range(5)]
        for change in changes:
            worker.act("ada", change)
        assert worker.run() == 1
        assert [state["changes"] for state in device.states] == [changes]

    def test_a_change_without_other_counts(self, worker: Worker) -> None:
        """A change is sent though the counts are what they were; nothing else is sent without a difference."""
        device = worker.attach("ada")
        worker.act("ada")
        worker.run()
        worker.receive("user:ada")
        worker.run()
        assert len(device.states) == 1

    def test_memberships(self, worker: Worker) -> None:
        """The topics of the user are in a state if its revision is another than that of the state before."""
        device = worker.attach("ada")
        worker.set("ada", topics={"t": BEGINNING}, revision=1)
        worker.act("ada")
        worker.run()
        worker.set("ada", unread=1)
        worker.receive("user:ada")
        worker.run()
        assert [state.get("memberships") for state in device.states] == [["t"], None]

    def test_many_notifications(self, worker: Worker) -> None:
        """However many notifications come before a round, each connection is sent one state."""
        everybody = [worker.attach(f"user-{number}") for number in range(5)]
        for ms in range(1, 101):
            worker.logs.publish("all", ms)
            worker.receive("all", ms=ms)
        assert worker.run() == 1
        assert [device.unread for device in everybody] == [[100]] * 5
        assert worker.asked == [f"user-{number}" for number in range(5)]  # for their welcome only

    def test_a_request(self, worker: Worker) -> None:
        """A connection that could not be sent a state is sent one later, even if nothing has changed since."""
        device = worker.attach("ada")
        worker.feed.request_state(device)
        stranger: Any = Connection(None)
        worker.feed.request_state(stranger)
        worker.run()
        assert (device.unread, stranger.states) == ([0], [])

    def test_nobody_is_there(self, worker: Worker) -> None:
        """Nothing is asked or sent for a user who has left, or whose channel is not subscribed to yet."""
        gone, unconfirmed = worker.attach("ada"), worker.attach("bob")
        for user in ("ada", "bob"):
            worker.set(user, unread=1)
            worker.act(user)
        worker.hub.leave("user:ada", gone, 0)
        worker.channel("bob").lose_subscription()
        worker.asked.clear()
        worker.run()
        assert (gone.states, unconfirmed.states, worker.asked) == ([], [], [])
        worker.channel("bob").confirm(BEGINNING)
        worker.feed.subscribed(worker.channel("bob"), has_missed=False)
        worker.run()
        assert unconfirmed.unread == [1]


class TestTurns:
    """Others have their turn between the users of a round."""

    @pytest.fixture
    def turns(self, monkeypatch: pytest.MonkeyPatch) -> Turns:
        return Turns(monkeypatch)

    def serve(self, worker: Worker, turns: Turns, meanwhile: Callable[[], object]) -> list[Any]:
        """Send a state to three users, and do something in the turn after the first."""
        everybody = [worker.attach(f"user-{number}") for number in range(3)]

        def send_state(frame: bytes) -> None:
            turns.work()
            everybody[0].states.append(json.loads(frame))
            meanwhile()

        everybody[0].send_state = send_state
        for number in range(3):
            worker.set(f"user-{number}", unread=1, revision=1)
            worker.act(f"user-{number}")
        worker.run()
        assert turns.count >= 1
        return everybody

    def test_left(self, worker: Worker, turns: Turns) -> None:
        """For a user whose last connection has left, nothing is sent or expected."""
        worker.set("user-2", expires=4 * 10**12)

        def leave() -> None:
            for channel in ("user:user-2", "all"):
                for connection in list(worker.hub[channel].connections):
                    if connection.session.identity.user == "user-2":
                        worker.hub.leave(channel, connection, 0)
            worker.feed.left("user:user-2")

        everybody = self.serve(worker, turns, leave)
        assert [len(each.states) for each in everybody] == [1, 1, 0]
        assert "user-2" not in worker.expected

    def test_later_state(self, worker: Worker, turns: Turns) -> None:
        """A state from before one that was learned meanwhile is not sent; that one is, with all changes."""

        def learn() -> None:
            worker.set("user-2", unread=5, revision=2)
            known(worker.channel("user-2")).state = worker.states["user-2"]

        everybody = self.serve(worker, turns, learn)
        [state] = everybody[2].states
        assert (state["revision"], state["counts"]["unread"], state["changes"]) == (2, 5, [READ])


class TestEntries:
    @pytest.mark.parametrize("kind", [NOTIFICATION, REMOVED])
    def test_of_a_user(self, worker: Worker, kind: bytes) -> None:
        """An item that is added to a user's channel, or recalled, is counted immediately."""
        device = worker.attach("ada")
        worker.attach("bob")
        worker.set("ada", unread=1)
        worker.receive("all", ms=1)
        worker.receive("user:ada", kind)
        worker.step()
        assert device.unread == [1]

    def test_ephemeral(self, worker: Worker) -> None:
        """Ephemeral entries change nothing."""
        worker.attach("ada")
        for name in ("user:ada", "all"):
            worker.receive(name, EPHEMERAL)
        assert worker.run() == 0

    def test_history(self, worker: Worker) -> None:
        """Entries that are not items may trim one from the log, which matters only if something may be unread."""
        ada, bob = worker.attach("ada", is_welcome=False), worker.attach("bob")
        worker.set("ada", unread=2)
        worker.welcome(ada)
        worker.asked.clear()
        for name in ("user:ada", "user:bob", "all"):
            worker.receive(name, HISTORY)
        worker.set("ada", unread=1)
        worker.run()
        assert (ada.unread, bob.unread, worker.asked) == ([1], [], ["ada"])

    def test_history_of_everybody(self, worker: Worker) -> None:
        """Users without unread items are not served for entries that are not items."""
        worker.attach("ada")
        worker.receive("user:ada", HISTORY)
        worker.receive("all", HISTORY)
        assert worker.run() == 0

    def test_of_a_topic(self, worker: Worker) -> None:
        """A topic counts for its members, not for those who only subscribe to it."""
        worker.set("ada", topics={"t": BEGINNING})
        member, subscriber = worker.attach("ada", "t"), worker.attach("bob", "t")
        worker.logs.publish("topic:t", 5)
        worker.receive("topic:t", ms=5)
        worker.run()
        assert (member.unread, subscriber.unread) == ([1], [])

    def test_no_walk(self, worker: Worker) -> None:
        """The fan-out does not wait until all connections of a channel were looked at: here, that would fail."""
        worker.hub.join("all", object())
        worker.receive("all")
        with pytest.raises(AttributeError):
            worker.run()

    def test_left_meanwhile(self, worker: Worker) -> None:
        """A channel that is forgotten before its users are looked for concerns nobody."""
        ada = worker.attach("ada", "t")
        worker.receive("topic:t")
        worker.hub.leave("topic:t", ada, 1.0)
        worker.hub.forget_idle(2.0)
        assert worker.run() == 0

    def test_before_the_hello(self, worker: Worker) -> None:
        """Connections without a user are sent no states."""
        worker.hub.join("all", Connection(None))
        worker.receive("all")
        assert worker.run() == 0


class TestOrder:
    def test_urgent_first(self, worker: Worker) -> None:
        """A user's own change is sent before the counts of a notification to all."""
        ada, bob = worker.attach("ada"), worker.attach("bob")
        worker.logs.publish("all", 5)
        worker.receive("all", ms=5)
        worker.act("bob")
        worker.step()
        assert (ada.unread, bob.unread) == ([], [1])
        worker.step()
        assert (ada.unread, bob.unread) == ([1], [1])

    def test_an_outage_loses_nothing(self, worker: Worker) -> None:
        """Changes during a Redis outage are kept, and sent together after it."""
        ada, bob = worker.attach("ada"), worker.attach("bob")
        first, second = READ | {"ids": ["1"]}, READ | {"ids": ["2"]}
        worker.fails = True
        worker.act("ada", first)
        worker.logs.publish("all", 5)
        worker.receive("all", ms=5)
        for change in ([], [second]):
            for each in change:
                worker.act("ada", each)
            with pytest.raises(BrokerUnavailable):
                worker.step()
        assert ada.states == []
        worker.fails = False
        worker.run()
        assert [state["changes"] for state in ada.states] == [[first, second]]
        assert (ada.unread, bob.unread) == ([1], [1])

    def test_one_user_who_cannot_be_served(self, worker: Worker) -> None:
        """A failure with one user does not prevent the states of other users in the same round."""
        devices = {user: worker.attach(user) for user in ("ada", "bob", "cy")}
        views = worker.logs.views

        def broken(states: Iterable[InboxState]) -> list[InboxView]:
            states = list(states)
            assert all(state.revision != 13 for state in states), "cannot be viewed"
            return views(states)

        worker.logs.views = broken  # type: ignore[method-assign]
        worker.set("bob", revision=13)
        for user in devices:
            worker.act(user)
        for _ in range(5):
            with contextlib.suppress(AssertionError):
                worker.run()
        assert [len(device.states) for device in devices.values()] == [1, 0, 1]
        worker.set("bob", revision=14)
        worker.run()
        assert [len(device.states) for device in devices.values()] == [1, 1, 1]


class TestWhatIsKnown:
    def test_a_change_while_redis_is_asked(self, worker: Worker) -> None:
        """A state that may have changed while Redis was asked is sent, and asked for once more."""
        device = worker.attach("ada")

        def change() -> None:
            worker.set("ada", unread=2)
            worker.receive("user:ada")

        worker.set("ada", unread=1)
        worker.act("ada")
        worker.meanwhile = change
        worker.run()
        assert device.unread == [1, 2]

    def test_a_subscription_lost_while_redis_is_asked(self, worker: Worker) -> None:
        """The state is read again after a subscription was lost, even if no message reports a change."""
        device = worker.attach("ada")

        def lose() -> None:
            worker.set("ada", unread=2)
            worker.feed.subscription_lost([worker.channel("ada")])

        worker.act("ada")
        worker.meanwhile = lose
        worker.run()
        assert device.unread == [0, 2]

    def test_a_reply_that_was_under_way(self, worker: Worker) -> None:
        """A reply that a connection waits for while the user does something does not replace the newer state."""
        worker.attach("ada")
        late = worker.attach("ada", is_welcome=False)
        known(worker.channel("ada")).invalidate()

        def change() -> None:
            worker.set("ada", revision=5)
            worker.act("ada")
            worker.run()

        worker.meanwhile = change
        worker.feed.prepare([late])
        worker.run()
        assert worker.feed.views([late])[late].state.revision == 5

    def test_lost_and_regained(self, worker: Worker) -> None:
        """After a lost subscription all states are read again, and sent if they have changed."""
        device = worker.attach("ada")
        worker.hub.join("user:bob", fresh := Connection("bob"))
        worker.feed.subscription_lost(worker.hub.channels())
        assert worker.logs.forgotten == 1
        worker.set("ada", unread=4)
        worker.set("bob", unread=4)
        worker.asked.clear()
        for channel in worker.hub.channels():
            channel.confirm(BEGINNING)
            worker.feed.subscribed(channel, has_missed=False)
        worker.run()
        assert (device.unread, fresh.states, worker.asked) == ([4], [], ["ada"])

    @pytest.mark.parametrize("name", ["all", "topic:news"])
    def test_regained_one_after_the_other(self, worker: Worker, name: str) -> None:
        """Counts include what was published while only the user's channel was subscribed to again."""
        worker.set("ada", topics={"news": BEGINNING})
        device, stranger = worker.attach("ada", "news"), worker.attach("bob", "news")
        worker.feed.subscription_lost(worker.hub.channels())
        worker.feed.subscribed(worker.channel("ada"), has_missed=False)
        worker.run()
        worker.logs.publish(name, 2000)
        worker.feed.subscribed(worker.hub[name], has_missed=True)
        worker.run()
        assert device.unread == [1]
        assert stranger.unread == ([1] if name == "all" else [])

    def test_a_new_channel(self, worker: Worker) -> None:
        """A channel that nobody has been welcomed to concerns nobody: a welcome has the counts."""
        worker.attach("ada", is_welcome=False)
        worker.feed.subscribed(worker.hub["all"], has_missed=True)
        assert (worker.run(), worker.asked) == (0, [])

    def test_disconnected_elsewhere(self, worker: Worker) -> None:
        """A disconnection that was not received closes connections that have been welcomed, and no newer one."""
        old, other = worker.attach("ada"), worker.attach("bob")
        new = worker.attach("ada", is_welcome=False)
        worker.set("ada", disconnected_at=5)
        known(worker.channel("ada")).invalidate()
        worker.feed.prepare([new])
        assert isinstance(old.closed, Disconnected)
        assert new.closed is other.closed is None

    def test_many_disconnected_elsewhere(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        """While many connections are closed, other threads have their turns, in which others may be welcomed."""
        turns, old = Turns(monkeypatch), [worker.attach("ada") for _ in range(20)]
        new = worker.attach("ada", is_welcome=False)

        def close(disconnect: Disconnect) -> None:
            new.session.is_welcome = True
            turns.work()

        for each in old:
            monkeypatch.setattr(each, "close", close)
        worker.set("ada", disconnected_at=5)
        known(worker.channel("ada")).invalidate()
        worker.feed.prepare([new])
        assert turns.count >= 20 and new.closed is None


class TestWelcome:
    def test_counts(self, worker: Worker) -> None:
        """A connection is welcomed with the counts of its user; no state with the same counts follows."""
        worker.set("ada", unread=2)
        worker.logs.publish("all", 5)
        device = worker.attach("ada", is_welcome=False)
        assert worker.welcome(device).counts.unread == 3
        worker.receive("user:ada")
        worker.run()
        assert device.states == []

    def test_others_of_the_user(self, worker: Worker) -> None:
        """If a welcome differs from what other connections of the user were sent, all of them are sent a state."""
        first = worker.attach("ada")
        worker.attach("ada")
        assert worker.run() == 0
        worker.logs.publish("all", 5)
        third = worker.attach("ada")
        worker.run()
        assert (first.unread, third.unread) == ([1], [1])

    def test_many_at_once(self, worker: Worker) -> None:
        """Redis is asked once for each user of the connections that are prepared together."""
        devices = [worker.attach(user, is_welcome=False) for user in ("ada", "bob", "ada")]
        worker.feed.prepare(devices)
        assert worker.asked == ["ada", "bob"]
        assert set(worker.feed.views(devices)) == set(devices)
        assert worker.asked == ["ada", "bob"]
        assert worker.feed.views([]) == {}

    def test_no_broker(self, worker: Worker) -> None:
        """Without Redis no connection can be prepared."""
        device = worker.attach("ada", is_welcome=False)
        worker.fails = True
        with pytest.raises(BrokerUnavailable):
            worker.feed.prepare([device])
        assert device.memberships is None


class TestMembershipsAndMutes:
    def test_enroll(self, worker: Worker) -> None:
        """Connections are enrolled in the topics of their user, each from its entry on, once for each change."""
        worker.set("ada", topics={"t": Cursor(5, 0)})
        device, other = worker.attach("ada"), worker.attach("bob")
        assert worker.enrolled == [(device, {"t": Cursor(5, 0)}), (other, {})]
        worker.act("ada")
        worker.run()
        assert len(worker.enrolled) == 2
        worker.set("ada", topics={"t": Cursor(5, 0), "u": Cursor(6, 0)})
        worker.act("ada")
        worker.run()
        assert worker.enrolled[2:] == [(device, {"t": Cursor(5, 0), "u": Cursor(6, 0)})]

    def test_a_connection_that_closes(self, worker: Worker) -> None:
        """A connection that is closing is enrolled in nothing, and no mutes are kept for it."""
        device = worker.attach("ada", is_welcome=False)
        device.is_open = False
        worker.set("ada", topics={"t": BEGINNING}, mutes={"type:": 0})
        worker.feed.prepare([device])
        entries = [("all", Entry(b"5-0", b"", NOTIFICATION, b"{}"))]
        assert worker.enrolled == []
        assert worker.mutes.apply(device, entries) is entries

    def test_mutes(self, worker: Worker) -> None:
        """Mutes apply to all connections of the user as soon as the state is known, until they are lifted."""
        devices = [worker.attach("ada"), worker.attach("ada")]
        entries = [("all", Entry(b"5-0", b"", NOTIFICATION, b'{"type":"a"}'))]

        def applied() -> list[bool]:
            return [worker.mutes.apply(each, entries)[0][1].kind == MUTED for each in devices]

        for mutes, expected in [({"type:a": 0}, True), ({"type:b": 0}, False), ({"type:a": 0}, True), ({}, False)]:
            worker.set("ada", mutes=mutes)
            worker.act("ada")
            worker.run()
            assert applied() == [expected] * 2
        worker.set("ada", mutes={"type:a": 0})
        worker.act("ada")
        worker.run()
        worker.feed.forget(devices[0])
        assert applied() == [False, True]


class TestFilters:
    """Memberships and mutes must be known before anything is sent that they concern."""

    def test_a_change(self, worker: Worker) -> None:
        """A change of mutes or memberships is reported, and until they are known again the user is not prepared."""
        ada = worker.attach("ada")
        before = worker.feed.filters([ada])
        assert not worker.feed.changed(worker.channel("ada"), json.dumps(READ).encode())
        assert worker.feed.filters([ada]) == before
        assert worker.feed.changed(worker.channel("ada"), b'{"action":"mutes","revision":2}')
        assert worker.feed.filters([ada]) == {}
        worker.states["ada"] = InboxState(revision=2, mutes={"type:t": 5})
        worker.feed.prepare([ada])
        assert worker.feed.filters([ada]).keys() == {ada}
        assert worker.feed.filters([ada]) != before
        assert worker.mutes.of(ada) == {"type:t": 5}

    def test_notifications_keep_them(self, worker: Worker) -> None:
        """A user who is sent one notification after the other stays prepared, and Redis is not asked again."""
        ada = worker.attach("ada")
        before, asked = worker.feed.filters([ada]), list(worker.asked)
        worker.feed.received(worker.channel("ada"), [Entry(b"5-0", b"0-0", NOTIFICATION, b"{}")])
        worker.feed.prepare([ada])
        assert worker.feed.filters([ada]) == before
        assert worker.asked == asked

    def test_outdated(self, worker: Worker) -> None:
        """A change that Redis has and the worker has not received is found, and applied."""
        ada, bob = worker.attach("ada"), worker.attach("bob")
        assert worker.feed.outdated([ada, bob]) == set()
        worker.states["ada"] = InboxState(revision=7, topics={"orders": Cursor(3, 0)})
        worker.states["bob"] = InboxState(revision=8)
        assert worker.feed.outdated([ada, bob]) == {ada}
        assert ada.memberships == {"orders": Cursor(3, 0)}
        assert worker.feed.outdated([ada, bob]) == set()
        worker.states["ada"] = InboxState(revision=9, topics={"orders": Cursor(4, 0)})  # removed, and added again
        assert worker.feed.outdated([ada, bob]) == {ada}

    def test_a_late_reply(self, worker: Worker) -> None:
        """A reply that a later change has outdated prepares no connection."""
        ada = worker.attach("ada")
        worker.feed.changed(worker.channel("ada"), b'{"action":"topics","revision":2}')
        worker.meanwhile = lambda: worker.feed.changed(worker.channel("ada"), b'{"action":"topics","revision":3}')
        worker.feed.prepare([ada])
        assert worker.feed.filters([ada]) == {}
        worker.feed.prepare([ada])
        assert worker.feed.filters([ada]).keys() == {ada}

    def test_subscription_lost(self, worker: Worker) -> None:
        """After a lost subscription memberships and mutes are asked for again."""
        ada = worker.attach("ada")
        worker.feed.subscription_lost(worker.hub.channels())
        assert worker.feed.filters([ada]) == {}

    def test_read_without_subscription(self, worker: Worker) -> None:
        """Mutes that a replay has read while nothing was received are read again once the worker is subscribed."""
        ada = worker.attach("ada")
        worker.feed.subscription_lost(worker.hub.channels())
        worker.states["ada"] = InboxState(revision=2, mutes={"type:t": 5})
        assert worker.feed.outdated([ada]) == {ada}
        worker.states["ada"] = InboxState(revision=3)  # the worker does not receive that the mute is lifted
        worker.feed.subscribed(worker.channel("ada"), has_missed=False)
        assert worker.feed.filters([ada]) == {}
        worker.feed.prepare([ada])
        assert worker.mutes.of(ada) == {}


class TestExpiries:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        now = [1_000_000]
        monkeypatch.setattr(rounds_module, "_now", lambda: now[0])
        return now

    def tick(self, worker: Worker, clock: list[int], ms: int) -> None:
        """Advance the time, and make the feed check its expiries."""
        clock[0] = ms
        worker.act("somebody")
        worker.step()
        worker.run()

    @pytest.mark.parametrize("of", ["user", "all"])
    def test_expiry(self, worker: Worker, clock: list[int], of: str) -> None:
        """When an item expires, or the log of a channel ends as a whole, the new counts are sent."""
        worker.attach("somebody")
        if of == "user":
            worker.set("ada", unread=1, expires=1_002_000)
        else:
            worker.logs.publish("all", 5, ends=1_002_000)
        device = worker.attach("ada")
        self.tick(worker, clock, 1_001_999)
        assert device.states == []
        worker.set("ada", unread=0, expires=0)
        worker.logs.digests.clear()
        self.tick(worker, clock, 1_002_000)
        assert device.unread == [0]

    def test_a_redis_that_lags(self, worker: Worker, clock: list[int]) -> None:
        """If the item has not expired by the clock of Redis, Redis is asked again a moment later."""
        worker.attach("somebody")
        worker.set("ada", unread=1, expires=1_002_000)
        device = worker.attach("ada")
        self.tick(worker, clock, 1_002_000)
        assert device.states == []
        worker.set("ada", unread=0, expires=0)
        self.tick(worker, clock, 1_002_199)
        assert device.states == []
        self.tick(worker, clock, 1_002_200)
        assert device.unread == [0]

    def test_left(self, worker: Worker) -> None:
        """The expiries of users take no memory once all of their connections have left."""
        for user in ("ada", "bob"):
            worker.set(user, unread=1, expires=1_002_000)
            worker.attach(user)
        assert sorted(worker.expected) == ["ada", "bob"]
        for name in ("user:ada", "topic:bob", "all"):
            worker.feed.left(name)
        assert list(worker.expected) == ["bob"]

    def test_another_expiry(self, worker: Worker, clock: list[int]) -> None:
        """A newer expiry replaces an older one."""
        worker.attach("somebody")
        worker.set("ada", unread=1, expires=1_002_000)
        device = worker.attach("ada")
        worker.set("ada", unread=1, expires=1_005_000)
        worker.receive("user:ada")
        worker.run()
        worker.set("ada", unread=0, expires=0)
        worker.asked.clear()
        self.tick(worker, clock, 1_004_999)
        assert worker.asked == ["somebody"]
        self.tick(worker, clock, 1_005_000)
        assert device.unread == [1, 0]


def test_thread(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """The thread sends states, and survives an outage."""
    device = worker.attach("ada")
    worker.fails = True
    worker.act("ada")
    worker.feed.start()
    eventually(lambda: "waits for Redis" in caplog.text)
    worker.fails = False
    eventually(lambda: bool(device.states))
    assert device.states[0]["changes"] == [READ]
