"""The rules of a stream: what the client does with what comes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.client import NotifierClient
from notifier.client.answer import Answer
from notifier.client.errors import (
    ConfigurationError,
    NotNotifier,
    ProblemError,
    StreamClosed,
    TooNew,
    Unreachable,
)
from notifier.client.events import Lost, Position, Received, Removed, State
from notifier.client.inbox import Change, Counts
from notifier.client.outcomes import BROKEN, SILENCE, Closed, Opened
from notifier.client.steps import SUBPROTOCOL, Close, Connect, Emit, FetchToken, Receive, Send, Wait
from notifier.client.stream import Listener
from tests.kit.cases import rows
from tests.kit.play import URL, Clock, Play, html, problem, refused, reply

OPENED = Opened(SUBPROTOCOL)


def listener(**options: Any) -> Listener:
    """Return a listener whose jitter is always the longest."""
    return Listener(**{"clock": Clock(), "random": lambda: 1.0} | options)


def welcome(
    cursor: str = "1000-0", lost: tuple[str, ...] = (), heartbeat: int = 25, revision: int | None = None
) -> str:
    """Return the frame that begins a stream; without a revision, that of a service that has no inboxes."""
    frame = {"type": "welcome", "connection": "c1", "user": "alice", "topics": [], "cursor": cursor}
    frame |= {} if revision is None else standing(revision) | {"memberships": ["news"]}
    return json.dumps(frame | {"heartbeat": heartbeat, "lost": list(lost), "added_later": True})


def standing(revision: int, unread: int = 3) -> dict[str, Any]:
    """Return the fields of an inbox's state."""
    return {"counts": {"unread": unread, "unseen": 1}, "revision": revision, "expires_at": None}


def notification(id: str, cursor: str, channel: str = "user:alice", **members: object) -> str:
    """Return the frame of a notification."""
    frame = {"type": "notification", "cursor": cursor, "channel": channel, "notification": {"id": id, "title": id}}
    return json.dumps(frame | members)


def frame(type: str, **members: object) -> str:
    """Return a frame."""
    return json.dumps({"type": type, **members})


def opened(asked: Listener) -> Play[None]:
    """Play a listener up to its hello."""
    play = Play(asked.steps())
    assert play.step == FetchToken()
    assert isinstance(play.answer("the-token"), Connect)
    assert isinstance(play.answer(OPENED), Send)
    assert play.answer() == Receive(30.0)
    return play


def welcomed(asked: Listener, **members: Any) -> Play[None]:
    """Play a listener up to its welcome."""
    play = opened(asked)
    assert play.answer(welcome(**members)) == Receive(50.0)
    return play


def ended(play: Play[None], how: Closed | Answer | Unreachable | Exception) -> Wait:
    """End a connection, or the attempt at one, and return how long the listener waits."""
    assert play.answer(how) == Close()
    wait = play.answer()
    assert isinstance(wait, Wait)
    return wait


class TestBeginning:
    """From the token to the welcome."""

    def test_hello(self) -> None:
        """The token goes with the request, topics and the place to resume from with the hello."""
        play = Play(listener(topics=["orders"], since="5-1").steps())
        play.answer("the-token")
        assert play.step.token == "the-token"
        hello = play.answer(OPENED)
        assert json.loads(hello.text) == {"type": "hello", "topics": ["orders"], "since": "5-1"}

    def test_one_topic(self) -> None:
        """One name is one topic, and not its letters."""
        with NotifierClient(URL, token="the-token") as client:
            play = Play(client.listen("orders")._listener.steps())
            play.answer("the-token")
            assert json.loads(play.answer(OPENED).text)["topics"] == ["orders"]

    def test_without_since(self) -> None:
        """A listener without a position to resume from begins now, and resumes from the welcome's cursor."""
        asked = listener()
        play = opened(asked)
        assert asked.position is None
        play.answer(welcome("77-3"))
        assert asked.position == Position("77-3")

    def test_welcome_does_not_skip_replay(self) -> None:
        """With a position of its own the replay still follows, so the welcome's cursor does not count."""
        asked = listener(since="5-1")
        welcomed(asked, cursor="99-0")
        assert asked.position == Position("5-1")

    def test_a_replay_that_is_cut_goes_on(self) -> None:
        """All channels are replayed in one order, topics included: the next connection resumes where it was cut."""
        asked = listener(topics=["orders"], since="5-1")
        play = welcomed(asked, cursor="99-0")
        play.answer(notification("n-1", "6-0", channel="topic:orders", replay=True))
        play.answer()
        ended(play, Closed(1006))
        play.answer()
        hello = play.answer(OPENED)
        assert json.loads(hello.text) == {"type": "hello", "topics": ["orders"], "since": "6-0"}

    def test_is_welcome(self) -> None:
        """It is welcome with the welcome, not before."""
        asked = listener()
        play = opened(asked)
        assert not asked.is_welcome
        play.answer(welcome())
        assert asked.is_welcome

    @rows("subprotocol", [None, "chat"])
    def test_another_subprotocol(self, subprotocol: str | None) -> None:
        """A server that accepts the WebSocket but not the subprotocol is not Notifier."""
        play = Play(listener().steps())
        play.answer("the-token")
        with pytest.raises(NotNotifier, match="check the URL"):
            play.answer(Opened(subprotocol))

    @rows("text", ["hello", "[]", "{}", '"x"'])
    def test_no_frames(self, text: str) -> None:
        """A server that does not send frames is not Notifier."""
        with pytest.raises(NotNotifier):
            opened(listener()).answer(text)

    def test_unreadable_welcome(self) -> None:
        """A first welcome without one of its fields is not from Notifier."""
        with pytest.raises(NotNotifier):
            opened(listener()).answer('{"type":"welcome"}')

    def test_wrong_since(self) -> None:
        """A `since` that is not a cursor is rejected at once."""
        with pytest.raises(ConfigurationError, match="since"):
            listener(since="yesterday")


class TestReceiving:
    """Received frames, and those of them that are returned to the caller."""

    def test_notification(self) -> None:
        """A notification is returned with its channel and cursor, and the listener's position advances."""
        asked = listener()
        play = welcomed(asked)
        step = play.answer(notification("a", "2000-0", replay=True))
        assert step == Emit(Received("a", "user:alice", "2000-0", True, {"id": "a", "title": "a"}))
        assert asked.position == Position("2000-0", ("a",))
        assert play.answer() == Receive(50.0)

    @pytest.mark.parametrize(
        "text",
        [
            notification("n-1", "1001-0").replace('"title": "n-1"', '"data": ' + 5000 * "9"),
            notification("n-1", "1001-0").replace('"title": "n-1"', '"data": -' + 4301 * "9"),
            notification("n-1", "1001-0").replace('"title": "n-1"', '"data": ' + 100_000 * "["),
            notification("n-1", "1001-0").replace('"title": "n-1"', '"data": ' + 50_000 * "[" + 50_000 * "]"),
            notification("n-1", "yesterday"),
            '{"type":"notification"}',
            '{"type":"notification","cursor":5,"channel":"all","notification":{"id":"x"}}',
            '{"type":"notification","cursor":"1-0","channel":"all","notification":["id"]}',
            '{"type":"state","counts":7}',
            '{"type":"removed"}',
            '{"type":"lost"}',
            '{"type":"ping","cursor":"soon"}',
            '{"type":"drain","retry_after_ms":"soon"}',
            '{"type":"welcome"}',
            "{}",
            "[]",
            "NaN",
            "not JSON",
        ],
    )
    def test_unreadable(self, text: str, caplog: pytest.LogCaptureFixture) -> None:
        """A message that cannot be read is logged and skipped, and later ones are received."""
        play = welcomed(listener())
        assert isinstance(play.answer(text), Receive)
        assert "Skipped a message" in caplog.text
        assert isinstance(play.answer(notification("n-2", "1002-0")), Emit)

    def test_numbers(self) -> None:
        """Numbers of every size that Python can read are received."""
        play = welcomed(listener())
        text = notification("n-1", "1001-0").replace('"title": "n-1"', '"data": [%s, 1e999, NaN]' % (4300 * "9"))
        assert isinstance(play.answer(text), Emit)

    def test_twice(self) -> None:
        """A notification that arrives twice, in another channel or after a reconnect, is returned once."""
        play = welcomed(listener())
        play.answer(notification("a", "2000-0"))
        play.answer()
        assert isinstance(play.answer(notification("a", "2000-1", "topic:orders")), Receive)

    def test_position_remembers(self) -> None:
        """A listener that begins where another one ended drops what that one has had."""
        first = listener()
        welcomed(first).answer(notification("a", "2000-0"))
        play = welcomed(listener(since=first.position))
        assert isinstance(play.answer(notification("a", "2000-0", replay=True)), Receive)
        assert isinstance(play.answer(notification("b", "2000-0", replay=True)), Emit)

    def test_position_is_small(self) -> None:
        """A position contains only the ids that may be received again, not all ids."""
        asked = listener()
        play = welcomed(asked)
        for number in range(1, 3000):
            play.answer(notification(f"id-{number}", f"{10_000 * number}-0"))
            play.answer()
        assert asked.position == Position("29990000-0", ("id-2998", "id-2999"))

    def test_older_cursor(self) -> None:
        """Channels may change places a little; the listener never moves back."""
        asked = listener()
        play = welcomed(asked)
        play.answer(notification("a", "2000-0"))
        play.answer()
        assert isinstance(play.answer(notification("b", "1999-9", "all")), Emit)
        assert asked.position and asked.position.cursor == "2000-0"

    def test_removed(self) -> None:
        """A removal is returned once, also of a notification that was never received."""
        play = welcomed(listener())
        removed = frame("removed", cursor="2000-0", channel="all", id="a")
        assert play.answer(removed) == Emit(Removed("a", "all", "2000-0"))
        play.answer()
        assert isinstance(play.answer(removed), Receive)

    def test_lost(self) -> None:
        """Lost channels are reported, from the welcome and from a frame of their own."""
        play = opened(listener(since="1-0"))
        assert play.answer(welcome(lost=("all",))) == Emit(Lost(("all",)))
        play.answer()
        assert play.answer(frame("lost", channels=["user:alice"])) == Emit(Lost(("user:alice",)))

    def test_ping(self) -> None:
        """A ping moves the place to resume from, where it names one."""
        asked = listener()
        play = welcomed(asked)
        play.answer(frame("ping"))
        assert asked.position == Position("1000-0")
        play.answer(frame("ping", cursor="3000-0"))
        assert asked.position == Position("3000-0")

    def test_unknown_frame(self) -> None:
        """A later version may send more than this one knows."""
        assert isinstance(welcomed(listener()).answer(frame("fireworks")), Receive)

    def test_refused_topic(self) -> None:
        """A listener whose topic is not granted gets an error, and does not wait for the topic."""
        refusal = {"status": 403, "code": "forbidden", "title": "No.", "topic": "orders"}
        with pytest.raises(ProblemError) as raised:
            welcomed(listener(topics=["orders"])).answer(frame("error", problem=refusal))
        assert raised.value.code == "forbidden"


class TestInbox:
    """The state of the inbox."""

    def test_welcome(self) -> None:
        """The welcome has the counts; a list that is shown must be loaded."""
        asked = listener(inbox=True)
        play = opened(asked)
        assert asked.counts is None
        assert play.answer(welcome(revision=17)) == Emit(State(Counts(3, 1, 17), (), ("news",), reload=True))
        assert asked.counts == Counts(3, 1, 17)

    def test_changes(self) -> None:
        """The changes of an inbox are returned, with its counts after them."""
        play = watching()
        changes = [{"revision": 18, "action": "read", "ids": ["a"]}, {"revision": 19, "action": "seen", "up_to": "5-0"}]
        step = play.answer(frame("state", **standing(19, unread=2), changes=changes))
        expected = (Change(18, "read", ("a",)), Change(19, "seen", (), "5-0"))
        assert step == Emit(State(Counts(2, 1, 19), expected))

    def test_counts_alone(self) -> None:
        """A new notification changes the counts alone."""
        assert watching().answer(frame("state", **standing(17, unread=4))) == Emit(State(Counts(4, 1, 17)))

    def test_topics(self) -> None:
        """Topics that the user is a member of now are named; a welcome's topics are other ones."""
        changes = [{"revision": 18, "action": "topics"}]
        step = watching().answer(frame("state", **standing(18), changes=changes, memberships=["orders"]))
        assert step == Emit(State(Counts(3, 1, 18), (Change(18, "topics"),), ("orders",), reload=True))

    @rows("action, reload", [("read", False), ("topics", True), ("mutes", True), ("fireworks", True)])
    def test_what_changes_say(self, action: str, reload: bool) -> None:
        """If the effect of a change on the items is unknown, the list must be loaded again."""
        step = watching().answer(frame("state", **standing(18), changes=[{"revision": 18, "action": action}]))
        assert step.event.reload is reload

    @rows("revision, reload", [(17, False), (18, False), (19, True), (1, True)])
    def test_missed(self, revision: int, reload: bool) -> None:
        """A revision that the changes do not explain means that a change was missed."""
        changes = [{"revision": revision, "action": "read", "ids": ["a"]}]
        step = watching().answer(frame("state", **standing(revision), changes=changes))
        assert step.event.reload is reload

    def test_changes_left_out(self) -> None:
        """A frame without changes, because there were too many, means that the list must be loaded again."""
        step = watching().answer(frame("state", **standing(20)))
        assert step == Emit(State(Counts(3, 1, 20), reload=True))

    @rows("revisions, reload", [([16, 17, 18], False), ([16, 17, 19], True), ([16, 17], True)])
    def test_repeated_changes(self, revisions: list[int], reload: bool) -> None:
        """Changes that are known from the welcome explain no later revision."""
        changes = [{"revision": revision, "action": "read", "ids": ["a"]} for revision in revisions]
        step = watching().answer(frame("state", **standing(max(18, *revisions)), changes=changes))
        assert step.event.reload is reload

    @rows("revision, reload", [(17, False), (18, True), (2, True)])
    def test_missed_while_away(self, revision: int, reload: bool) -> None:
        """A welcome with another revision means the same, also if the service has lost its own."""
        play = watching()
        ended(play, BROKEN)
        play.answer()
        play.answer(OPENED)
        play.answer()
        assert play.answer(welcome(revision=revision)).event.reload is reload

    def test_lost_before(self) -> None:
        """Lost channels are reported before the state of the inbox."""
        play = opened(listener(since="1-0", inbox=True))
        assert play.answer(welcome(lost=("all",), revision=17)) == Emit(Lost(("all",)))
        assert isinstance(play.answer().event, State)

    def test_not_asked_for(self) -> None:
        """A listener that has not requested the inbox receives no states, but the stream keeps the counts."""
        asked = listener()
        play = welcomed(asked, revision=17)
        assert isinstance(play.answer(frame("state", **standing(18, unread=9))), Receive)
        assert asked.counts == Counts(9, 1, 18)

    def test_older_service(self) -> None:
        """A service without inboxes sends no counts."""
        asked = listener(inbox=True)
        welcomed(asked)
        assert asked.counts is None


def watching() -> Play[None]:
    """Play a listener that has received revision 17."""
    play = opened(listener(inbox=True))
    assert isinstance(play.answer(welcome(revision=17)), Emit)
    play.answer()
    return play


class TestAcks:
    """Acknowledgements of received notifications."""

    def test_ack(self) -> None:
        """A second after an event was returned, the listener acknowledges how far it has received, and since when."""
        play = welcomed(listener(), revision=1)
        assert isinstance(play.answer(notification("a", "2000-0")), Emit)
        assert play.answer() == Receive(1.0)
        assert acked(play.answer(SILENCE)) == ("2000-0", "1000-0")
        assert play.answer() == Receive(50.0)

    def test_together(self) -> None:
        """Events that are returned within a second are acknowledged together, in a busy stream too."""
        clock = Clock()
        play = welcomed(listener(clock=clock), revision=1)
        for number in range(5):
            assert isinstance(play.answer(notification(f"id-{number}", f"{2000 + number}-0")), Emit)
            step = play.answer()
            assert number == 4 or step == Receive(1.0 - 0.25 * number)
            clock.now += 0.25
        assert acked(play.step) == ("2004-0", "1000-0")

    def test_since(self) -> None:
        """The next one begins where the last one ended."""
        play = welcomed(listener(), revision=1)
        for cursor, since in (("2000-0", "1000-0"), ("3000-0", "2000-0")):
            play.answer(notification(cursor, cursor))
            play.answer()
            assert acked(play.answer(SILENCE)) == (cursor, since)
            play.answer()

    def test_from_own_place(self) -> None:
        """A listener that resumes from a position of its own acknowledges from there."""
        play = welcomed(listener(since="500-0"), revision=1)
        play.answer(notification("a", "2000-0"))
        play.answer()
        assert acked(play.answer(SILENCE)) == ("2000-0", "500-0")

    def test_nothing_new(self) -> None:
        """Duplicates, pings, removals and states are not acknowledged."""
        play = welcomed(listener(), revision=1)
        play.answer(notification("a", "2000-0"))
        play.answer()
        play.answer(SILENCE)
        assert play.answer() == Receive(50.0)
        for text in (
            notification("a", "2000-1", "all"),
            frame("ping", cursor="3000-0"),
            frame("state", **standing(2)),
        ):
            assert play.answer(text) == Receive(50.0)

    def test_not_before_it_is_asked_for(self) -> None:
        """While the caller handles an event, it is not acknowledged; a caller that leaves with it acknowledges it."""
        asked = listener()
        play = welcomed(asked, revision=1)
        assert asked.take_ack() is None
        assert isinstance(play.answer(notification("a", "2000-0")), Emit)
        assert json.loads(asked.take_ack() or "")["cursor"] == "2000-0"
        assert asked.take_ack() is None
        assert play.answer() == Receive(50.0)

    def test_broken_before(self) -> None:
        """An acknowledgement that could not be sent is sent after the next welcome, and not before."""
        clock = Clock()
        asked = listener(clock=clock)
        play = welcomed(asked, revision=1)
        play.answer(notification("a", "2000-0"))
        assert play.answer() == Receive(1.0)
        ended(play, BROKEN)
        clock.now += 5
        play.answer()
        play.answer(OPENED)
        assert play.answer() == Receive(30.0)
        assert asked.take_ack() is None
        assert acked(play.answer(welcome(revision=1))) == ("2000-0", "1000-0")
        assert play.answer() == Receive(50.0)

    def test_closed(self) -> None:
        """An end while it waits is an end."""
        play = welcomed(listener(), revision=1)
        play.answer(notification("a", "2000-0"))
        assert play.answer() == Receive(1.0)
        assert ended(play, Closed(1012)) == Wait(1.0)

    def test_older_service(self) -> None:
        """A service that has no inboxes does not know the word."""
        play = welcomed(listener())
        play.answer(notification("a", "2000-0"))
        assert play.answer() == Receive(50.0)


@given(st.lists(st.sampled_from(["new", "twice", "ping", "silence", "break", "second"]), max_size=60))
def test_acks(happenings: list[str]) -> None:
    """In any order of events, acknowledgements join on to each other, and none covers an entry before it arrives.

    After a break the next one begins where the last one did, because that may have been lost.
    """
    clock, number = Clock(), 0
    asked = listener(clock=clock)
    play, given_on, told, last = welcomed(asked, cursor="1-0", revision=1), 1, 1, 1

    def follow() -> None:
        nonlocal told, last
        if isinstance(play.step, Emit):
            play.answer()
        if isinstance(play.step, Send):
            cursor, since = (int(text.removesuffix("-0")) for text in acked(play.step))
            assert since == told < cursor <= given_on
            told, last = cursor, told
            play.answer()
        assert isinstance(play.step, Receive)

    for happening in happenings:
        match happening:
            case "new":
                number, given_on = number + 1, given_on + 1
                play.answer(notification(f"id-{number}", f"{given_on}-0"))
            case "twice" if number:
                play.answer(notification(f"id-{number}", f"{given_on}-0", "all"))
            case "ping":
                play.answer(frame("ping", cursor=f"{given_on}-0"))
            case "silence" if play.step.timeout <= 1.0:
                clock.now += play.step.timeout
                play.answer(SILENCE)
            case "second":
                clock.now += 1
                play.answer(frame("fireworks"))
            case "break":
                ended(play, BROKEN)
                told = last
                play.answer()
                play.answer(OPENED)
                play.answer()
                play.answer(welcome(revision=1))
        follow()
    number, given_on = number + 1, given_on + 1
    play.answer(notification(f"id-{number}", f"{given_on}-0"))
    follow()
    clock.now += 1
    play.answer(frame("fireworks"))
    follow()
    assert told == given_on


def acked(step: Send) -> tuple[str, str]:
    """Return up to where and since when a frame acknowledges what has come."""
    sent = json.loads(step.text)
    assert sent.pop("type") == "ack"
    return sent.pop("cursor"), sent.pop("since")


class TestTokens:
    """Tokens end sooner than streams."""

    def test_refresh(self) -> None:
        """A token that expires soon is replaced while the stream goes on."""
        play = welcomed(listener(may_refresh=True, topics=["orders"]))
        assert play.answer(frame("expiring", **{"in": 60})) == FetchToken()
        sent = play.answer("fresh")
        assert json.loads(sent.text) == {"type": "auth", "ref": "auth", "token": "fresh"}
        assert isinstance(play.answer(), Receive)
        assert isinstance(play.answer(frame("ok", ref="auth", topics=["orders"])), Receive)

    def test_refresh_is_used(self) -> None:
        """The next connection is opened with the fresh token."""
        play = welcomed(listener(may_refresh=True))
        play.answer(frame("expiring", **{"in": 60}))
        play.answer("fresh")
        play.answer()
        ended(play, BROKEN)
        assert play.answer() == Connect("fresh", 30.0)

    def test_no_refresh(self) -> None:
        """A listener with only one token can do nothing about its expiry yet."""
        assert isinstance(welcomed(listener()).answer(frame("expiring", **{"in": 60})), Receive)

    def test_refresh_fails(self) -> None:
        """Without a fresh token the old one is good for a while."""
        play = welcomed(listener(may_refresh=True))
        play.answer(frame("expiring", **{"in": 60}))
        assert isinstance(play.answer(OSError("backend away")), Receive)

    def test_refresh_is_refused(self) -> None:
        """A fresh token that the service refuses leaves the old one in force."""
        play = welcomed(listener(may_refresh=True))
        refusal = {"status": 401, "code": "invalid_token", "title": "No."}
        assert isinstance(play.answer(frame("error", ref="auth", problem=refusal)), Receive)

    def test_refresh_grants_less(self) -> None:
        """A topic that the fresh token does not grant is not lost in silence."""
        play = welcomed(listener(may_refresh=True, topics=["orders", "news"]))
        with pytest.raises(ProblemError, match="news"):
            play.answer(frame("ok", ref="auth", topics=["orders"]))

    def test_expired(self) -> None:
        """After 4001 a new token is fetched, where that is possible."""
        play = welcomed(listener(may_refresh=True))
        ended(play, Closed(4001, "token expired"))
        assert play.answer() == FetchToken()

    def test_expired_static(self) -> None:
        """A single token is tried once more; the problem with which the service answers then ends the stream."""
        play = welcomed(listener())
        ended(play, Closed(4001, "token expired"))
        assert play.answer() == Connect("the-token", 30.0)
        assert play.answer(problem(401, "token_expired")) == Close()
        with pytest.raises(ProblemError, match="token_expired"):
            play.answer()

    def test_refused_twice(self) -> None:
        """A token that was just fetched and is rejected again is a permanent error."""
        play = Play(listener(may_refresh=True).steps())
        play.answer("old")
        ended(play, problem(401, "token_expired"))
        assert play.answer() == FetchToken()
        play.answer("new")
        play.answer(problem(401, "invalid_token"))
        with pytest.raises(ProblemError, match="invalid_token"):
            play.answer()

    def test_get_token_fails_at_first(self) -> None:
        """An error while the first token is fetched is raised to the caller."""
        with pytest.raises(ZeroDivisionError):
            Play(listener(may_refresh=True).steps()).answer(ZeroDivisionError())

    def test_get_token_fails_later(self) -> None:
        """Later it may be the same outage that ended the stream."""
        play = welcomed(listener(may_refresh=True))
        ended(play, Closed(4001))
        assert play.answer() == FetchToken()
        ended(play, OSError("backend away"))
        assert play.answer() == FetchToken()


class TestComingBack:
    """Ends of a connection, and the reconnects after them."""

    @rows("code", [1000, 1001, 1006, 1011, 1012, 4000, 4002, 4003, 4499])
    def test_comes_back(self, code: int) -> None:
        """The listener reconnects with the position to resume from, after a random pause."""
        asked = listener()
        play = welcomed(asked)
        play.answer(notification("a", "2000-0"))
        play.answer()
        assert ended(play, Closed(code)) == Wait(1.0)
        assert isinstance(play.answer(), Connect)
        assert json.loads(play.answer(OPENED).text)["since"] == "2000-0"

    @rows("code", [1002, 1007, 1009, 4500, 4501, 4502, 4999])
    def test_stays_away(self, code: int) -> None:
        """After a permanent error the stream ends, and the exception has the close code and the reason."""
        play = welcomed(listener())
        assert play.answer(Closed(code, "why")) == Close()
        with pytest.raises(StreamClosed, match=f"{code} why") as raised:
            play.answer()
        assert (raised.value.code, raised.value.reason) == (code, "why")

    def test_drain(self) -> None:
        """A drain frame has the time to reconnect, so that clients do not all reconnect at once."""
        play = welcomed(listener())
        play.answer(frame("drain", retry_after_ms=4321))
        assert ended(play, Closed(1012)) == Wait(4.321)
        play.answer()
        assert ended(play, refused()) == Wait(2.0)

    def test_overloaded(self) -> None:
        """A listener that was closed as overloaded or rate limited waits longer before it reconnects."""
        assert ended(welcomed(listener()), Closed(4004)) == Wait(8.0)
        assert ended(welcomed(listener()), Closed(4005)) == Wait(8.0)

    def test_pauses_grow(self) -> None:
        """Pauses double up to half a minute, also where a service accepts and drops at once."""
        play = welcomed(listener())
        pauses = []
        for _ in range(8):
            pauses.append(ended(play, BROKEN).seconds)
            play.answer()
            play.answer(OPENED)
            play.answer()
            play.answer(welcome())
        assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    def test_stable(self) -> None:
        """After a connection that lasted, pauses are short again."""
        clock = Clock()
        play = welcomed(listener(clock=clock))
        ended(play, BROKEN)
        play.answer()
        play.answer(OPENED)
        play.answer()
        clock.now += 31
        assert ended(play, BROKEN) == Wait(1.0)

    def test_jitter(self) -> None:
        """The pause is random from nothing on."""
        assert ended(welcomed(listener(random=lambda: 0.25)), BROKEN) == Wait(0.25)

    def test_retry_after(self) -> None:
        """The next attempt is not before the time that the service requests."""
        play = Play(listener().steps())
        play.answer("the-token")
        assert ended(play, problem(503, "too_many_connections", retry_after="5")) == Wait(6.0)

    def test_endless(self) -> None:
        """A service can ask for a pause of an hour at most."""
        play = welcomed(listener())
        ended(play, BROKEN)
        play.answer()
        assert ended(play, problem(503, "too_many_connections", retry_after="9" * 400)) == Wait(3602.0)
        play = welcomed(listener())
        play.answer(frame("drain", retry_after_ms=1e300))
        assert ended(play, Closed(1012)) == Wait(3600.0)

    def test_never_reached(self) -> None:
        """If the first connection does not succeed within the deadline, the error states what to check."""
        play = Play(listener(deadline=0.5).steps())
        play.answer("the-token")
        play.answer(refused())
        with pytest.raises(Unreachable, match="Connection refused. Check the URL"):
            play.answer()

    def test_reconnects_indefinitely(self) -> None:
        """After the first connection it reconnects indefinitely, whatever the deadline."""
        clock = Clock()
        play = welcomed(listener(clock=clock, deadline=1.0))
        ended(play, BROKEN)
        for _ in range(20):
            assert isinstance(play.answer(), Connect)
            clock.now += 3600
            ended(play, refused())

    def test_permanent(self) -> None:
        """A certificate that is not trusted will not be in a minute."""
        play = Play(listener().steps())
        play.answer("the-token")
        play.answer(Unreachable("The certificate is not trusted", is_permanent=True))
        with pytest.raises(Unreachable, match="certificate"):
            play.answer()

    @rows(
        "answer, error",
        [
            (html(404), NotNotifier),
            (html(200), NotNotifier),
            (html(301, location="https://elsewhere.example.com/"), NotNotifier),
            (problem(403, "forbidden"), ProblemError),
            (problem(426, "upgrade_required"), ProblemError),
            (reply(200, {}), NotNotifier),
            (problem(404, "not_found")._replace(headers={"notifier-version": "9.0.0"}), TooNew),
        ],
    )
    def test_refused_at_first(self, answer: Answer, error: type[Exception]) -> None:
        """An error in the URL, the proxy or the rights is raised at once."""
        play = Play(listener().steps())
        play.answer("the-token")
        play.answer(answer)
        with pytest.raises(error):
            play.answer()

    def test_proxy_later(self) -> None:
        """While a service is exchanged its proxy may answer anything."""
        play = welcomed(listener())
        for answer in (html(404), html(502), html(200)):
            ended(play, BROKEN)
            assert isinstance(play.answer(), Connect)
            assert ended(play, answer)
            play.answer()
            play.answer(OPENED)
            play.answer()


@given(st.lists(st.integers(0, 900), max_size=60), st.lists(st.integers(1, 12), max_size=30))
def test_nothing_lost_nothing_twice(pauses: list[int], cuts: list[int]) -> None:
    """However often the connection breaks, each notification is given on once and in order."""
    ms, log = 1000, []
    for number, pause in enumerate(pauses):
        ms += pause
        log.append((f"id-{number}", ms))
    asked = listener(since="1000-0")
    play = Play(asked.steps())
    play.answer("the-token")
    got: list[str] = []
    for cut in [*cuts, len(log)]:
        hello = json.loads(play.answer(OPENED).text)
        since = int(hello["since"].split("-")[0]) - 2000  # the overlap
        play.answer()
        play.answer(welcome())
        for id, at in [entry for entry in log if entry[1] >= since][: len(log) if cut == len(log) else cut]:
            step = play.answer(notification(id, f"{at}-{id.removeprefix('id-')}"))
            if isinstance(step, Emit):
                assert isinstance(step.event, Received)
                got.append(step.event.id)
                play.answer()
        ended(play, BROKEN)
        play.answer()
    assert got == [id for id, _ in log]
