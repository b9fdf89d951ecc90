"""The session: which frame is accepted in which state, and what the time asks for."""

import contextlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import (
    Disconnect,
    HeartbeatLost,
    HelloTimeout,
    Overloaded,
    ProtocolViolation,
    StreamForbidden,
    TokenRefused,
)
from notifier.protocol import identity
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.inbox_request import Target
from notifier.protocol.publishing import Publishing
from notifier.protocol.session import (
    Acknowledge,
    Action,
    Attach,
    Join,
    Leave,
    Marking,
    Reply,
    Rules,
    SendPing,
    Session,
    State,
)

NOW = 1_763_661_600.0
SECRET = "the-secret-that-signs-" * 2
TOPICS = ["orders", "project:*"]
SINCE = "1763661600123-7"


def verify(token: str, now: float) -> Identity:
    return identity.verify(token, (SECRET,), now)


RULES = Rules(
    verify, hello_timeout=10, attach_timeout=8, heartbeat=1000, expiry_notice=60, max_topics=3
)  # a heartbeat that stays out of the way of the other deadlines
BEATING = RULES._replace(heartbeat=25, hello_timeout=1000)


def token(
    user: str = "alice",
    expires: float = NOW + 3600,
    topics: list[str] | None = None,
    publish: tuple[str, ...] = ("room:*",),
) -> str:
    return identity.sign(user, SECRET, expires, tuple(TOPICS if topics is None else topics), publish)


def frame(type: str, **members: object) -> str:
    return json.dumps({"type": type, **members})


def session(state: State = State.READY, rules: Rules = RULES, **claims: Any) -> Session:
    """Return a session that has come to a state."""
    session = Session(rules, NOW)
    if state is not State.GREETING:
        session.receive(frame("hello", token=token(**claims), topics=["orders"]), NOW)
    if state is State.READY:
        session.welcomed()
    return session


def snapshot(session: Session) -> tuple[object, ...]:
    return session.state, session.identity, session.topics, session.next_tick(), session.is_welcome


def reply(actions: list[Action]) -> dict[str, Any]:
    """Return the frame that is the only action."""
    [action] = actions
    assert isinstance(action, Reply)
    document: dict[str, Any] = json.loads(action.frame)
    return document


def code(actions: list[Action]) -> str:
    """Return the code of the problem that is the only answer."""
    document = reply(actions)
    assert document["type"] == "error"
    return str(document["problem"]["code"])


HELLO = frame("hello", token=token())
SUBSCRIBE = frame("subscribe", ref="r", topic="project:7", since=SINCE)
UNSUBSCRIBE = frame("unsubscribe", ref="r", topic="orders")
AUTH = frame("auth", ref="r", token=token(expires=NOW + 7200))
PUBLISH = frame("publish", ref="r", topic="room:1", notification={"title": "Hello"})
READ = frame("read", ref="r", ids=["a", "b"])
ARCHIVE = frame("archive", up_to=SINCE)
ACK = frame("ack", cursor=SINCE)
UNKNOWN = frame("dance", ref="r", topic="orders")
UNFINISHED = frame("publish", ref="r", topic="room:1")
WRONG = frame("subscribe", ref="r", topic=5)
NO_OBJECT = "[]"
LATER = (State.ATTACHING, State.READY)
ACCEPTED = [
    (State.GREETING, HELLO, Attach(None, (), ())),
    *((state, SUBSCRIBE, Join("r", "project:7", Cursor(1_763_661_600_123, 7))) for state in LATER),
    *((state, UNSUBSCRIBE, Leave("r", ("orders",))) for state in LATER),
    *((state, AUTH, Leave("r", ())) for state in LATER),
    *((state, READ, Marking("r", "read", Target(("a", "b")))) for state in LATER),
    *((state, ARCHIVE, Marking(None, "archive", Target(up_to=Cursor(1_763_661_600_123, 7)))) for state in LATER),
    *((state, ACK, Acknowledge(Cursor(1_763_661_600_123, 7), None)) for state in LATER),
]
ENDS = [
    *((State.GREETING, text) for text in (SUBSCRIBE, UNSUBSCRIBE, AUTH, PUBLISH, UNKNOWN, WRONG, NO_OBJECT)),
    *((State.GREETING, text) for text in (READ, ARCHIVE, ACK)),
    *((state, text) for state in LATER for text in (HELLO, NO_OBJECT)),
]
ANSWERED = [(state, text) for state in LATER for text in (UNKNOWN, UNFINISHED, WRONG)]


class TestTable:
    @pytest.mark.parametrize(("state", "text", "action"), ACCEPTED)
    def test_accepted(self, state: State, text: str, action: Action) -> None:
        """What may come in a state asks for one action."""
        assert session(state).receive(text, NOW) == [action]

    @pytest.mark.parametrize(("state", "text"), ENDS)
    def test_ends(self, state: State, text: str) -> None:
        """What may not come in a state ends the connection, and changes nothing."""
        subject = session(state)
        before = snapshot(subject)
        with pytest.raises(ProtocolViolation):
            subject.receive(text, NOW)
        assert snapshot(subject) == before

    @pytest.mark.parametrize(("state", "text"), ANSWERED)
    def test_answered(self, state: State, text: str) -> None:
        """After the hello a wrong frame is answered under its ref, and changes nothing."""
        subject = session(state)
        before = snapshot(subject)
        answer = reply(subject.receive(text, NOW))
        assert (answer["type"], answer["ref"], answer["problem"]["code"]) == ("error", "r", "invalid_frame")
        assert snapshot(subject) == before

    def test_states(self) -> None:
        """A session greets, attaches with its hello, and is ready with its welcome."""
        subject = Session(RULES, NOW)
        assert (subject.state, subject.is_welcome) == (State.GREETING, False)
        subject.receive(HELLO, NOW)
        assert (subject.state, subject.is_welcome) == (State.ATTACHING, False)
        subject.welcomed()
        assert (subject.state, subject.is_welcome) == (State.READY, True)


class TestHello:
    def test_all_members(self) -> None:
        """A hello says who it is, from where to resume and what to hear."""
        subject = Session(RULES, NOW)
        text = frame("hello", token=token(), since=SINCE, topics=["orders", "project:7", "orders"])
        topics = ("orders", "project:7")
        assert subject.receive(text, NOW) == [Attach(Cursor(1_763_661_600_123, 7), topics, ())]
        assert subject.identity == verify(token(), NOW)
        assert subject.topics == topics

    def test_identity_of_the_request(self) -> None:
        """Who was known from the request needs no token."""
        who = verify(token(), NOW)
        subject = Session(RULES, NOW, who)
        assert subject.receive(frame("hello", topics=["orders"]), NOW) == [Attach(None, ("orders",), ())]
        assert subject.identity is who

    def test_token_over_request(self) -> None:
        """A token in the hello counts more than that of the request."""
        subject = Session(RULES, NOW, verify(token(topics=[]), NOW))
        assert subject.receive(frame("hello", token=token(), topics=["orders"]), NOW) == [Attach(None, ("orders",), ())]
        assert subject.identity == verify(token(), NOW)

    def test_token_of_another_user(self) -> None:
        """A token in the hello of another user than the request's is forbidden."""
        subject = Session(RULES, NOW, verify(token("bob"), NOW))
        before = snapshot(subject)
        with pytest.raises(StreamForbidden):
            subject.receive(HELLO, NOW)
        assert snapshot(subject) == before

    def test_nobody(self) -> None:
        """Who is known neither from the request nor from the hello is sent for a token."""
        with pytest.raises(TokenRefused):
            Session(RULES, NOW).receive(frame("hello"), NOW)

    @pytest.mark.parametrize("text", ["", "no token", token(expires=NOW), jwt.encode({}, SECRET * 2)])
    def test_bad_token(self, text: str) -> None:
        """A bad or expired token sends for a new one, also where the request had a good one."""
        for who in (None, verify(token(), NOW)):
            subject = Session(RULES, NOW, who)
            with pytest.raises(TokenRefused):
                subject.receive(frame("hello", token=text), NOW)
            assert (subject.state, subject.identity) == (State.GREETING, who)

    def test_denied_topics(self) -> None:
        """A topic that the token does not grant, or that is no name, is left out and answered after the welcome."""
        subject = Session(RULES, NOW)
        [action] = subject.receive(frame("hello", token=token(), topics=["orders", "secret", "project:*"]), NOW)
        assert isinstance(action, Attach)
        assert action.topics == subject.topics == ("orders",)
        assert [(problem.code, problem.fields["topic"]) for problem in action.refused] == [
            ("forbidden", "secret"),
            ("forbidden", "project:*"),
        ]

    def test_too_many_topics(self) -> None:
        """A hello asks for as many topics as a connection may have; the same one twice is one."""
        names = [f"project:{index}" for index in range(4)]
        assert Session(RULES, NOW).receive(frame("hello", token=token(), topics=names[:3] * 2), NOW)
        with pytest.raises(ProtocolViolation):
            Session(RULES, NOW).receive(frame("hello", token=token(), topics=names), NOW)

    @pytest.mark.parametrize("since", ["", "now", "5"])
    def test_wrong_since(self, since: str) -> None:
        """A hello with a wrong cursor ends the connection: to go on would lose what was missed."""
        with pytest.raises(ProtocolViolation):
            Session(RULES, NOW).receive(frame("hello", token=token(), since=since), NOW)

    def test_reason_is_short(self) -> None:
        """The reason of a refusal fits into a close frame, whatever the client wrote."""
        for text in (frame("x" * 500), frame("hello", token="é" * 500), frame("hello", since="é" * 500)):
            with pytest.raises(Disconnect) as caught:
                Session(RULES, NOW).receive(text, NOW)
            assert len(caught.value.text) <= 123


class TestSubscribe:
    def test_topic(self) -> None:
        """A topic that is granted is heard from then on."""
        subject = session()
        assert subject.receive(frame("subscribe", topic="project:7"), NOW) == [Join(None, "project:7", None)]
        assert subject.topics == ("orders", "project:7")

    def test_again(self) -> None:
        """A topic that is heard already may be asked for again, to resume it, and is heard once."""
        subject = session()
        assert subject.receive(frame("subscribe", topic="orders", since="5-0"), NOW) == [
            Join(None, "orders", Cursor(5, 0))
        ]
        assert subject.topics == ("orders",)

    @pytest.mark.parametrize(
        ("members", "problem"),
        [
            ({"topic": "secret"}, "forbidden"),
            ({"topic": "project"}, "forbidden"),
            ({"topic": ""}, "invalid_frame"),
            ({"topic": "a b"}, "invalid_frame"),
            ({"topic": "project:*"}, "invalid_frame"),
            ({"topic": "project:{7}"}, "invalid_frame"),
            ({"topic": "project:7", "since": "now"}, "invalid_frame"),
        ],
    )
    def test_refused(self, members: dict[str, Any], problem: str) -> None:
        """A topic that is not granted or no name, or a wrong cursor, is refused and changes nothing."""
        subject = session()
        before = snapshot(subject)
        actions = subject.receive(frame("subscribe", ref="r", **members), NOW)
        assert code(actions) == problem
        assert reply(actions)["ref"] == "r"
        assert snapshot(subject) == before

    def test_too_many(self) -> None:
        """A connection has so many topics; one that is left makes room."""
        subject = session()
        for name in ("project:1", "project:2"):
            subject.receive(frame("subscribe", topic=name), NOW)
        assert code(subject.receive(frame("subscribe", topic="project:3"), NOW)) == "too_many_subscriptions"
        assert subject.topics == ("orders", "project:1", "project:2")
        assert subject.receive(frame("subscribe", topic="orders"), NOW) == [Join(None, "orders", None)]
        subject.receive(frame("unsubscribe", topic="project:1"), NOW)
        assert subject.receive(frame("subscribe", topic="project:3"), NOW) == [Join(None, "project:3", None)]

    def test_unsubscribe(self) -> None:
        """A topic is left once; to leave it again is confirmed too."""
        subject = session()
        assert subject.receive(UNSUBSCRIBE, NOW) == [Leave("r", ("orders",))]
        assert subject.topics == ()
        assert subject.receive(UNSUBSCRIBE, NOW) == [Leave("r", ())]


class TestAuth:
    def test_fresh_token(self) -> None:
        """A fresh token of the same user is in force from then on."""
        subject = session()
        subject.receive(AUTH, NOW)
        assert subject.identity
        assert subject.identity.expires == NOW + 7200

    def test_fewer_grants(self) -> None:
        """A token that grants less takes away what it does not grant."""
        subject = session()
        subject.receive(SUBSCRIBE, NOW)
        assert subject.receive(frame("auth", token=token(topics=["project:*"])), NOW) == [Leave(None, ("orders",))]
        assert subject.topics == ("project:7",)
        assert code(subject.receive(frame("subscribe", topic="orders"), NOW)) == "forbidden"

    def test_more_grants(self) -> None:
        """A token that grants more allows more."""
        subject = session()
        subject.receive(frame("auth", token=token(topics=["orders", "news"])), NOW)
        assert subject.receive(frame("subscribe", topic="news"), NOW) == [Join(None, "news", None)]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (token("bob"), "forbidden"),
            (token(expires=NOW), "token_expired"),
            ("no token", "invalid_token"),
        ],
    )
    def test_refused(self, text: str, problem: str) -> None:
        """A token of another user, an expired or a wrong one is refused under its ref; the old one stays in force."""
        subject = session()
        before = snapshot(subject)
        actions = subject.receive(frame("auth", ref="r", token=text), NOW)
        assert code(actions) == problem
        assert reply(actions)["ref"] == "r"
        assert snapshot(subject) == before


class TestPublish:
    @pytest.mark.parametrize("state", LATER)
    def test_granted(self, state: State) -> None:
        """A granted publication asks for one action; it may come before the welcome."""
        [publishing] = session(state).receive(PUBLISH, NOW)
        assert isinstance(publishing, Publishing)
        assert (publishing.ref, publishing.publication.channels) == ("r", ["topic:room:1"])
        assert b'"sender":"alice"' in publishing.publication.fields

    @pytest.mark.parametrize(
        ("members", "problem"),
        [
            ({"topic": "orders"}, "forbidden"),  # granted for reading only
            ({"topic": "room:*"}, "invalid_frame"),
            ({"notification": {}}, "invalid_notification"),
            ({"notification": []}, "malformed_json"),
            ({"notification": {"data": "x" * 70_000}}, "body_too_large"),
            ({"idempotency_key": ""}, "invalid_idempotency_key"),
            ({"echo": "no"}, "invalid_frame"),
        ],
    )
    def test_refused(self, members: dict[str, Any], problem: str) -> None:
        """What may not be published is answered under its ref, and uses up nothing of the allowance."""
        subject = session()
        text = json.dumps(json.loads(PUBLISH) | members)
        for _ in range(30):
            answer = reply(subject.receive(text, NOW))
            assert (answer["type"], answer["ref"], answer["problem"]["code"]) == ("error", "r", problem)
        assert isinstance(subject.receive(PUBLISH, NOW)[0], Publishing)

    def test_rate(self) -> None:
        """Twice the rate goes at once, then the rate; who has to wait is told for how long, in whole seconds."""
        subject = session(rules=RULES._replace(publish_rate=2))
        assert all(isinstance(subject.receive(PUBLISH, NOW)[0], Publishing) for _ in range(4))
        answer = reply(subject.receive(PUBLISH, NOW))
        assert (answer["ref"], answer["problem"]["code"], answer["problem"]["retry_after"]) == ("r", "rate_limited", 1)
        assert code(subject.receive(PUBLISH, NOW + 0.25)) == "rate_limited"
        assert isinstance(subject.receive(PUBLISH, NOW + 0.75)[0], Publishing)

    def test_a_slow_rate(self) -> None:
        """Who may publish less than once a second waits longer."""
        subject = session(rules=RULES._replace(publish_rate=0.1))
        assert isinstance(subject.receive(PUBLISH, NOW)[0], Publishing)
        assert reply(subject.receive(PUBLISH, NOW + 0.5))["problem"]["retry_after"] == 10

    def test_fresh_token(self) -> None:
        """A fresh token brings other grants at once, and no new allowance."""
        subject = session(rules=RULES._replace(publish_rate=1))
        for _ in range(2):
            subject.receive(PUBLISH, NOW)
        subject.receive(frame("auth", token=token(expires=NOW + 7200)), NOW)
        assert code(subject.receive(PUBLISH, NOW)) == "rate_limited"
        subject.receive(frame("auth", token=token(publish=())), NOW)
        assert code(subject.receive(PUBLISH, NOW + 60)) == "forbidden"


class TestInbox:
    @pytest.mark.parametrize("action", ["seen", "read", "unread", "archive", "unarchive"])
    def test_actions(self, action: str) -> None:
        """Each action is aimed at ids or at all up to a cursor, and carries its ref."""
        subject = session()
        assert subject.receive(frame(action, ref="r", ids=["a", "a"]), NOW) == [Marking("r", action, Target(("a",)))]
        assert subject.receive(frame(action, up_to="5-1"), NOW) == [Marking(None, action, Target(up_to=Cursor(5, 1)))]

    @pytest.mark.parametrize(
        ("members", "pointer"),
        [
            ({}, ""),
            ({"ids": ["a"], "up_to": "1-0"}, ""),
            ({"ids": [""]}, "/ids/0"),
            ({"ids": ["a", "b", "c", "d"]}, "/ids"),
            ({"up_to": "now"}, "/up_to"),
        ],
    )
    def test_wrong(self, members: dict[str, Any], pointer: str) -> None:
        """An action without a right aim is answered under its ref, with a pointer, and changes nothing."""
        subject = session(rules=RULES._replace(max_inbox_ids=3))
        before = snapshot(subject)
        for ref in ({}, {"ref": "r"}):
            answer = reply(subject.receive(frame("read", **ref, **members), NOW))
            assert (answer["type"], answer.get("ref")) == ("error", ref.get("ref"))
            assert answer["problem"]["code"] == "invalid_inbox_action"
            assert [fault["pointer"] for fault in answer["problem"]["errors"]] == [pointer]
        assert snapshot(subject) == before

    def test_ack(self) -> None:
        """An ack says up to where a client has everything, and after which cursor where it knows."""
        subject = session()
        assert subject.receive(frame("ack", cursor="9-1", since="5-0"), NOW) == [
            Acknowledge(Cursor(9, 1), Cursor(5, 0))
        ]

    @pytest.mark.parametrize("members", [{}, {"cursor": None}, {"cursor": "now"}, {"cursor": "1-0", "since": "x"}])
    def test_wrong_ack(self, members: dict[str, Any]) -> None:
        """An ack without right cursors is answered: its client would believe that it had been noted."""
        answer = reply(session().receive(frame("ack", ref="r", **members), NOW))
        assert (answer["ref"], answer["problem"]["code"]) == ("r", "invalid_frame")


class TestDeadlines:
    def test_hello_in_time(self) -> None:
        """A hello may come until its deadline."""
        subject = Session(RULES, NOW)
        assert subject.next_tick() == NOW + 10
        assert subject.tick(NOW + 9.9) == []
        assert subject.receive(HELLO, NOW + 9.9)

    def test_no_hello(self) -> None:
        """Without a hello the connection ends, also where the request said who it is."""
        for who in (None, verify(token(), NOW)):
            with pytest.raises(HelloTimeout):
                Session(RULES, NOW, who).tick(NOW + 10)

    def test_no_welcome(self) -> None:
        """A connection whose channels are not heard in time ends; its deadline begins with the hello."""
        subject = Session(RULES, NOW)
        subject.receive(HELLO, NOW + 9)
        assert subject.next_tick() == NOW + 17
        assert subject.tick(NOW + 16.9) == []
        with pytest.raises(Overloaded):
            subject.tick(NOW + 17)

    def test_welcome(self) -> None:
        """After the welcome neither deadline holds."""
        assert session().tick(NOW + 500) == []

    def test_pings(self) -> None:
        """A ping goes out at each interval in which something was heard."""
        subject = session(rules=BEATING)
        for beat in range(1, 5):
            now = NOW + 25 * beat
            assert subject.next_tick() == now
            assert subject.tick(now - 0.1) == []
            assert subject.tick(now) == [SendPing()]
            subject.note_activity()

    def test_lost_heartbeat(self) -> None:
        """Who was not heard from one ping to the next has gone."""
        subject = session(rules=BEATING)
        assert subject.tick(NOW + 25) == [SendPing()]
        assert subject.tick(NOW + 49.9) == []
        with pytest.raises(HeartbeatLost):
            subject.tick(NOW + 50)

    def test_late_ping(self) -> None:
        """A ping that went out late gives a whole interval to answer."""
        subject = session(rules=BEATING)
        assert subject.tick(NOW + 40) == [SendPing()]
        assert subject.next_tick() == NOW + 65
        assert subject.tick(NOW + 64.9) == []

    def test_expiry(self) -> None:
        """Before its token expires a client is told once, and when it has expired it is sent for a new one."""
        subject = session(expires=NOW + 200)
        assert subject.next_tick() == NOW + 140
        assert subject.tick(NOW + 139.9) == []
        assert reply(subject.tick(NOW + 140.5)) == {"type": "expiring", "in": 59}
        assert subject.next_tick() == NOW + 200
        assert subject.tick(NOW + 199.9) == []
        with pytest.raises(TokenRefused):
            subject.tick(NOW + 200)

    def test_short_token(self) -> None:
        """A token that is shorter than the notice is told of half way, or ten seconds before, not again and again."""
        subject = session(expires=NOW + 5)
        assert subject.next_tick() <= NOW
        assert reply(subject.tick(NOW)) == {"type": "expiring", "in": 5}
        subject = session(expires=NOW + 30)
        assert subject.next_tick() == NOW + 15
        assert subject.tick(NOW + 14.9) == []
        assert reply(subject.tick(NOW + 15)) == {"type": "expiring", "in": 15}

    def test_fresh_token(self) -> None:
        """A fresh token is told of anew."""
        subject = session(expires=NOW + 100)
        subject.tick(NOW + 50)
        subject.receive(frame("auth", token=token(expires=NOW + 200)), NOW + 60)
        assert subject.next_tick() == NOW + 140
        assert subject.tick(NOW + 139) == []
        assert reply(subject.tick(NOW + 140)) == {"type": "expiring", "in": 60}

    def test_expiry_before_the_welcome(self) -> None:
        """A client is not told before its welcome, but a token that expires before it ends the connection."""
        subject = session(State.ATTACHING, expires=NOW + 5)
        assert subject.tick(NOW + 4) == []
        with pytest.raises(TokenRefused):
            subject.tick(NOW + 5)

    def test_expiry_of_the_request(self) -> None:
        """A token of the request that expires before the hello ends the connection."""
        with pytest.raises(TokenRefused):
            Session(RULES, NOW, verify(token(expires=NOW + 5), NOW)).tick(NOW + 5)


FRAMES = st.sampled_from(
    [HELLO, SUBSCRIBE, UNSUBSCRIBE, AUTH, PUBLISH, READ, ARCHIVE, ACK, UNKNOWN, WRONG, "hear", "welcomed"]
)


@given(st.lists(st.tuples(FRAMES, st.floats(0, 9))))
def test_random_histories(history: list[tuple[str, float]]) -> None:
    """After any frames at any times, a session has ended with a documented error, or its next tick is due later."""
    subject, now = Session(BEATING, NOW), NOW
    with contextlib.suppress(Disconnect):
        for text, pause in history:
            now += pause
            subject.tick(now)
            if text == "hear":
                subject.note_activity()
            elif text == "welcomed":
                if subject.state is State.ATTACHING:
                    subject.welcomed()
            else:
                subject.receive(text, now)
            assert len(set(subject.topics)) == len(subject.topics) <= BEATING.max_topics
            assert subject.state is State.GREETING or subject.identity
            assert subject.next_tick() > now


def test_frames_of_a_stranger() -> None:
    """Before it has authenticated, a client may send a hello and some pings, and no more."""
    stranger = Session(RULES, 0.0)
    for _ in range(8):
        stranger.count_stranger()
    with pytest.raises(ProtocolViolation):
        stranger.count_stranger()
