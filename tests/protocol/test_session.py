"""Sessions: which frame is accepted in which state, and which actions are due when."""

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
    IssuerUnavailable,
    Overloaded,
    ProtocolViolation,
    RateLimited,
    StreamForbidden,
    TokenRefused,
)
from notifier.protocol import identity
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity, KeysPending
from notifier.protocol.inbox_frames import Acknowledge, Marking
from notifier.protocol.inbox_target import Target
from notifier.protocol.publishing import Publishing
from notifier.protocol.session import Action, RefuseToken, Reply, Rules, SendPing, Session, State
from notifier.protocol.subscribing import Attach, Join, Leave
from tests.kit.cases import rows

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


def frame(type: str, **fields: object) -> str:
    return json.dumps({"type": type, **fields})


def session(state: State = State.READY, rules: Rules = RULES, **claims: Any) -> Session:
    """Return a session in a state."""
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
    assert isinstance(action, Reply | RefuseToken)
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
INVALID = frame("subscribe", ref="r", topic=5)
NO_OBJECT = "[]"
LATER = (State.ATTACHING, State.READY)
ACCEPTED = [
    (State.GREETING, HELLO, Attach(None, (), ())),
    *((state, SUBSCRIBE, Join("r", "project:7", Cursor(1_763_661_600_123, 7))) for state in LATER),
    *((state, UNSUBSCRIBE, Leave("r", ("orders",))) for state in LATER),
    *((state, AUTH, Leave("r", ())) for state in LATER),
    *((state, READ, Marking("r", "read", Target(("a", "b")))) for state in LATER),
    *((state, ARCHIVE, Marking(None, "archive", Target(up_to=Cursor(1_763_661_600_123, 7)))) for state in LATER),
    *((state, ACK, Acknowledge(Cursor(1_763_661_600_123, 7), Cursor(1_763_661_600_123, 6))) for state in LATER),
]
ENDS = [
    *((State.GREETING, text) for text in (SUBSCRIBE, UNSUBSCRIBE, AUTH, PUBLISH, UNKNOWN, INVALID, NO_OBJECT)),
    *((State.GREETING, text) for text in (READ, ARCHIVE, ACK)),
    *((state, text) for state in LATER for text in (HELLO, NO_OBJECT)),
]
ANSWERED = [(state, text) for state in LATER for text in (UNKNOWN, UNFINISHED, INVALID)]


class TestTable:
    @rows(("state", "text", "action"), ACCEPTED)
    def test_accepted(self, state: State, text: str, action: Action) -> None:
        """A frame that a state accepts causes one action."""
        assert session(state).receive(text, NOW) == [action]

    @rows(("state", "text"), ENDS)
    def test_ends(self, state: State, text: str) -> None:
        """A frame that a state does not accept ends the connection, and changes nothing."""
        subject = session(state)
        before = snapshot(subject)
        with pytest.raises(ProtocolViolation):
            subject.receive(text, NOW)
        assert snapshot(subject) == before

    @rows(("state", "text"), ANSWERED)
    def test_answered(self, state: State, text: str) -> None:
        """After the hello an invalid frame is answered with its ref, and changes nothing."""
        subject = session(state)
        before = snapshot(subject)
        answer = reply(subject.receive(text, NOW))
        assert (answer["type"], answer["ref"], answer["problem"]["code"]) == ("error", "r", "invalid_frame")
        assert snapshot(subject) == before

    def test_states(self) -> None:
        """A session is attaching from the hello on, and ready from the welcome on."""
        subject = Session(RULES, NOW)
        assert (subject.state, subject.is_welcome) == (State.GREETING, False)
        subject.receive(HELLO, NOW)
        assert (subject.state, subject.is_welcome) == (State.ATTACHING, False)
        subject.welcomed()
        assert (subject.state, subject.is_welcome) == (State.READY, True)


class TestHello:
    def test_all_fields(self) -> None:
        """A hello has a token, a cursor to resume from, and topics to subscribe to."""
        subject = Session(RULES, NOW)
        text = frame("hello", token=token(), since=SINCE, topics=["orders", "project:7", "orders"])
        topics = ("orders", "project:7")
        assert subject.receive(text, NOW) == [Attach(Cursor(1_763_661_600_123, 7), topics, ())]
        assert subject.identity == verify(token(), NOW)
        assert subject.topics == topics

    def test_identity_of_the_request(self) -> None:
        """If the request had a token, the hello needs none."""
        who = verify(token(), NOW)
        subject = Session(RULES, NOW, who)
        assert subject.receive(frame("hello", topics=["orders"]), NOW) == [Attach(None, ("orders",), ())]
        assert subject.identity is who

    def test_token_over_request(self) -> None:
        """A token in the hello replaces that of the request."""
        subject = Session(RULES, NOW, verify(token(topics=[]), NOW))
        assert subject.receive(frame("hello", token=token(), topics=["orders"]), NOW) == [Attach(None, ("orders",), ())]
        assert subject.identity == verify(token(), NOW)

    def test_token_of_another_user(self) -> None:
        """A token in the hello must be of the same user as that of the request."""
        subject = Session(RULES, NOW, verify(token("bob"), NOW))
        before = snapshot(subject)
        with pytest.raises(StreamForbidden):
            subject.receive(HELLO, NOW)
        assert snapshot(subject) == before

    def test_no_token(self) -> None:
        """If neither the request nor the hello has a token, the client is asked for one."""
        with pytest.raises(TokenRefused):
            Session(RULES, NOW).receive(frame("hello"), NOW)

    @rows("text", ["", "no token", token(expires=NOW - 5), jwt.encode({}, SECRET * 2)])
    def test_bad_token(self, text: str) -> None:
        """With an invalid or expired token the client is asked for a new one, even if the request had a valid one."""
        for who in (None, verify(token(), NOW)):
            subject = Session(RULES, NOW, who)
            with pytest.raises(TokenRefused):
                subject.receive(frame("hello", token=text), NOW)
            assert (subject.state, subject.identity) == (State.GREETING, who)

    def test_denied_topics(self) -> None:
        """A topic that the token does not grant, or an invalid name, is left out and reported after the welcome."""
        subject = Session(RULES, NOW)
        [action] = subject.receive(frame("hello", token=token(), topics=["orders", "secret", "project:*"]), NOW)
        assert isinstance(action, Attach)
        assert action.topics == subject.topics == ("orders",)
        assert [(problem.code, problem.fields["topic"]) for problem in action.refused] == [
            ("forbidden", "secret"),
            ("forbidden", "project:*"),
        ]

    def test_shared_topics(self) -> None:
        """Sessions store the strings of topics that they are given, of a hello as of a later frame."""
        given = {name: "".join(("project:", name)) for name in ("1", "2")}
        session = Session(RULES._replace(share=lambda topic: given[topic[-1]]), NOW)
        session.receive(frame("hello", token=token(), topics=["project:1"]), NOW)
        session.welcomed()
        session.receive(frame("subscribe", topic="project:2"), NOW)
        assert session.topics[0] is given["1"] and session.topics[1] is given["2"]

    def test_too_many_topics(self) -> None:
        """A hello may have as many topics as a connection; repeated topics count once."""
        names = [f"project:{index}" for index in range(4)]
        assert Session(RULES, NOW).receive(frame("hello", token=token(), topics=names[:3] * 2), NOW)
        with pytest.raises(ProtocolViolation):
            Session(RULES, NOW).receive(frame("hello", token=token(), topics=names), NOW)

    @rows("since", ["", "now", "5"])
    def test_invalid_since(self, since: str) -> None:
        """A hello with an invalid cursor ends the connection: without a replay notifications would be lost."""
        with pytest.raises(ProtocolViolation):
            Session(RULES, NOW).receive(frame("hello", token=token(), since=since), NOW)

    def test_reason_is_short(self) -> None:
        """The reason of a disconnect fits into a close frame, whatever the client sent."""
        for text in (frame("x" * 500), frame("hello", token="é" * 500), frame("hello", since="é" * 500)):
            with pytest.raises(Disconnect) as caught:
                Session(RULES, NOW).receive(text, NOW)
            assert len(caught.value.text) <= 123


class TestSubscribe:
    def test_topic(self) -> None:
        """A granted topic is added to those of the session."""
        subject = session()
        assert subject.receive(frame("subscribe", topic="project:7"), NOW) == [Join(None, "project:7", None)]
        assert subject.topics == ("orders", "project:7")

    def test_again(self) -> None:
        """A client may subscribe to a topic again, to replay it; the session has the topic once."""
        subject = session()
        assert subject.receive(frame("subscribe", topic="orders", since="5-0"), NOW) == [
            Join(None, "orders", Cursor(5, 0))
        ]
        assert subject.topics == ("orders",)

    @rows(
        ("fields", "problem"),
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
    def test_refused(self, fields: dict[str, Any], problem: str) -> None:
        """A topic that is not granted, an invalid name or cursor is answered with an error, and changes nothing."""
        subject = session()
        before = snapshot(subject)
        actions = subject.receive(frame("subscribe", ref="r", **fields), NOW)
        assert code(actions) == problem
        assert reply(actions)["ref"] == "r"
        assert isinstance(actions[0], RefuseToken) == (problem == "invalid_token"), "only these count as failures"
        assert snapshot(subject) == before

    def test_too_many(self) -> None:
        """A connection has a limit of topics; unsubscribing from one makes room for another."""
        subject = session()
        for name in ("project:1", "project:2"):
            subject.receive(frame("subscribe", topic=name), NOW)
        assert code(subject.receive(frame("subscribe", topic="project:3"), NOW)) == "too_many_subscriptions"
        assert subject.topics == ("orders", "project:1", "project:2")
        assert subject.receive(frame("subscribe", topic="orders"), NOW) == [Join(None, "orders", None)]
        subject.receive(frame("unsubscribe", topic="project:1"), NOW)
        assert subject.receive(frame("subscribe", topic="project:3"), NOW) == [Join(None, "project:3", None)]

    def test_unsubscribe(self) -> None:
        """Unsubscribing again is confirmed, too."""
        subject = session()
        assert subject.receive(UNSUBSCRIBE, NOW) == [Leave("r", ("orders",))]
        assert subject.topics == ()
        assert subject.receive(UNSUBSCRIBE, NOW) == [Leave("r", ())]


class TestAuth:
    def test_fresh_token(self) -> None:
        """A new token of the same user replaces the old one."""
        subject = session()
        subject.receive(AUTH, NOW)
        assert subject.identity
        assert subject.identity.expires == NOW + 7200

    def test_fewer_grants(self) -> None:
        """Topics that a new token does not grant are unsubscribed."""
        subject = session()
        subject.receive(SUBSCRIBE, NOW)
        assert subject.receive(frame("auth", token=token(topics=["project:*"])), NOW) == [Leave(None, ("orders",))]
        assert subject.topics == ("project:7",)
        assert code(subject.receive(frame("subscribe", topic="orders"), NOW)) == "forbidden"

    def test_more_grants(self) -> None:
        """Topics that only the new token grants may be subscribed to."""
        subject = session()
        subject.receive(frame("auth", token=token(topics=["orders", "news"])), NOW)
        assert subject.receive(frame("subscribe", topic="news"), NOW) == [Join(None, "news", None)]

    @rows(
        ("text", "problem"),
        [
            (token("bob"), "forbidden"),
            (token(expires=NOW - 5), "token_expired"),
            ("no token", "invalid_token"),
        ],
    )
    def test_refused(self, text: str, problem: str) -> None:
        """A token of another user, an expired or invalid one is answered with its ref; the old one remains valid."""
        subject = session()
        before = snapshot(subject)
        actions = subject.receive(frame("auth", ref="r", token=text), NOW)
        assert code(actions) == problem
        assert reply(actions)["ref"] == "r"
        assert snapshot(subject) == before


class TestKeys:
    """Tokens whose keys are not there."""

    @staticmethod
    def failing(error: Exception) -> Rules:
        def verify(token: str, now: float) -> Identity:
            if token == "later":
                raise error
            return identity.verify(token, (SECRET,), now)

        return RULES._replace(verify=verify)

    def test_pending(self) -> None:
        """While keys are being fetched, nothing has changed, and the frame can be repeated."""
        rules = self.failing(KeysPending(None))
        for subject, type in [(Session(rules, NOW), "hello"), (session(rules=rules), "auth")]:
            before = snapshot(subject)
            with pytest.raises(KeysPending):
                subject.receive(frame(type, ref="r", token="later"), NOW)
            assert snapshot(subject) == before

    def test_unavailable(self) -> None:
        """If keys cannot be fetched, the client reconnects later; a connection that is open stays open."""
        rules = self.failing(IssuerUnavailable(retry_after=5))
        with pytest.raises(Overloaded):
            Session(rules, NOW).receive(frame("hello", token="later"), NOW)
        subject = session(rules=rules)
        before = snapshot(subject)
        actions = subject.receive(frame("auth", ref="r", token="later"), NOW)
        assert (code(actions), reply(actions)["ref"]) == ("issuer_unavailable", "r")
        assert snapshot(subject) == before


class TestPublish:
    @rows("state", LATER)
    def test_granted(self, state: State) -> None:
        """A granted publication causes one action, also before the welcome."""
        [publishing] = session(state).receive(PUBLISH, NOW)
        assert isinstance(publishing, Publishing)
        assert (publishing.ref, publishing.publication.channels) == ("r", ["topic:room:1"])
        assert b'"sender":"alice"' in publishing.publication.fields

    @rows(
        ("fields", "problem"),
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
    def test_refused(self, fields: dict[str, Any], problem: str) -> None:
        """A rejected publication is answered with its ref, and counts: to reject it has taken time."""
        counted: list[str] = []
        subject = session(rules=RULES._replace(count_publication=counted.append))
        text = json.dumps(json.loads(PUBLISH) | fields)
        for _ in range(30):
            answer = reply(subject.receive(text, NOW))
            assert (answer["type"], answer["ref"], answer["problem"]["code"]) == ("error", "r", problem)
        assert isinstance(subject.receive(PUBLISH, NOW)[0], Publishing)
        # A frame that is not valid by itself is no publication yet.
        assert len(counted) == (1 if "echo" in fields else 31)

    def test_rate(self) -> None:
        """Publications that may not be sent now are answered with their ref; the connection stays open."""
        counted: list[str] = []

        def count(user: str) -> None:
            counted.append(user)
            if len(counted) > 2:
                raise RateLimited(retry_after=3, limit="user_publications")

        subject = session(rules=RULES._replace(count_publication=count))
        for _ in range(2):
            assert isinstance(subject.receive(PUBLISH, NOW)[0], Publishing)
        answer = reply(subject.receive(PUBLISH, NOW))
        problem = answer["problem"]
        assert (answer["ref"], problem["code"], problem["retry_after"]) == ("r", "rate_limited", 3)
        assert problem["limit"] == "user_publications" and counted == ["alice"] * 3

    def test_fresh_token(self) -> None:
        """A new token changes the grants at once."""
        subject = session()
        subject.receive(frame("auth", token=token(publish=())), NOW)
        assert code(subject.receive(PUBLISH, NOW)) == "forbidden"


class TestInbox:
    def test_rate(self) -> None:
        """Actions that may not be sent now are answered with their ref, whether they are valid or not."""

        def count(user: str) -> None:
            raise RateLimited(retry_after=1, limit="user_actions")

        subject = session(rules=RULES._replace(count_action=count))
        answer = reply(subject.receive(frame("read", ref="a", up_to="1-1"), NOW))
        assert (answer["ref"], answer["problem"]["code"]) == ("a", "rate_limited")
        assert code(subject.receive(frame("read", ref="a"), NOW)) == "rate_limited"

    def test_limit(self) -> None:
        """An action may name as many ids as the rules allow."""
        subject = session(rules=RULES._replace(max_inbox_ids=2))
        assert subject.receive(READ, NOW) == [Marking("r", "read", Target(("a", "b")))]
        assert code(subject.receive(frame("read", ids=["a", "b", "c"]), NOW)) == "invalid_inbox_action"

    @rows(
        ("text", "problem"),
        [
            (frame("read", ref="r"), "invalid_inbox_action"),
            (frame("read", ref="r", up_to="now"), "invalid_inbox_action"),
            (frame("ack", ref="r"), "invalid_frame"),
            (frame("ack", ref="r", cursor="now"), "invalid_frame"),
        ],
    )
    def test_rejected(self, text: str, problem: str) -> None:
        """An invalid action or ack is answered with its ref, and changes nothing."""
        subject = session()
        before = snapshot(subject)
        actions = subject.receive(text, NOW)
        assert code(actions) == problem
        assert reply(actions)["ref"] == "r"
        assert snapshot(subject) == before

    def test_pointer(self) -> None:
        """The answer to an invalid action points to its faults; without a ref it has none."""
        answer = reply(session().receive(frame("read", ids=[""]), NOW))
        assert [fault["pointer"] for fault in answer["problem"]["errors"]] == ["/ids/0"]
        assert "ref" not in answer


class TestDeadlines:
    def test_hello_in_time(self) -> None:
        """A hello is accepted until its deadline."""
        subject = Session(RULES, NOW)
        assert subject.next_tick() == NOW + 10
        assert subject.tick(NOW + 9.9) == []
        assert subject.receive(HELLO, NOW + 9.9)

    def test_no_hello(self) -> None:
        """Without a hello the connection ends, even if the request had a token."""
        for who in (None, verify(token(), NOW)):
            with pytest.raises(HelloTimeout):
                Session(RULES, NOW, who).tick(NOW + 10)

    def test_no_welcome(self) -> None:
        """A connection whose channels are not subscribed in time ends; the deadline starts with the hello."""
        subject = Session(RULES, NOW)
        subject.receive(HELLO, NOW + 9)
        assert subject.next_tick() == NOW + 17
        assert subject.tick(NOW + 16.9) == []
        with pytest.raises(Overloaded):
            subject.tick(NOW + 17)

    def test_welcome(self) -> None:
        """After the welcome there is no deadline."""
        assert session().tick(NOW + 500) == []

    def test_pings(self) -> None:
        """A ping is sent after each interval, if the client was active in it."""
        subject = session(rules=BEATING)
        for beat in range(1, 5):
            now = NOW + 25 * beat
            assert subject.next_tick() == now
            assert subject.tick(now - 0.1) == []
            assert subject.tick(now) == [SendPing()]
            subject.note_activity()

    def test_lost_heartbeat(self) -> None:
        """A client that was not active from one ping to the next is disconnected."""
        subject = session(rules=BEATING)
        assert subject.tick(NOW + 25) == [SendPing()]
        assert subject.tick(NOW + 49.9) == []
        with pytest.raises(HeartbeatLost):
            subject.tick(NOW + 50)

    def test_late_ping(self) -> None:
        """After a late ping the client has a whole interval to answer."""
        subject = session(rules=BEATING)
        assert subject.tick(NOW + 40) == [SendPing()]
        assert subject.next_tick() == NOW + 65
        assert subject.tick(NOW + 64.9) == []

    def test_expiry(self) -> None:
        """A client is warned once before its token expires, and disconnected when it has expired."""
        subject = session(expires=NOW + 200)
        assert subject.next_tick() == NOW + 140
        assert subject.tick(NOW + 139.9) == []
        assert reply(subject.tick(NOW + 140.5)) == {"type": "expiring", "in": 59}
        assert subject.next_tick() == NOW + 200
        assert subject.tick(NOW + 199.9) == []
        with pytest.raises(TokenRefused):
            subject.tick(NOW + 200)

    def test_short_token(self) -> None:
        """Of a short-lived token a client is warned half-way, or ten seconds before, and only once."""
        subject = session(expires=NOW + 5)
        assert subject.next_tick() <= NOW
        assert reply(subject.tick(NOW)) == {"type": "expiring", "in": 5}
        subject = session(expires=NOW + 30)
        assert subject.next_tick() == NOW + 15
        assert subject.tick(NOW + 14.9) == []
        assert reply(subject.tick(NOW + 15)) == {"type": "expiring", "in": 15}

    def test_fresh_token(self) -> None:
        """Each new token has a warning of its own."""
        subject = session(expires=NOW + 100)
        subject.tick(NOW + 50)
        subject.receive(frame("auth", token=token(expires=NOW + 200)), NOW + 60)
        assert subject.next_tick() == NOW + 140
        assert subject.tick(NOW + 139) == []
        assert reply(subject.tick(NOW + 140)) == {"type": "expiring", "in": 60}

    def test_expiry_before_the_welcome(self) -> None:
        """There is no warning before the welcome, but a token that expires before it ends the connection."""
        subject = session(State.ATTACHING, expires=NOW + 5)
        assert subject.tick(NOW + 4) == []
        with pytest.raises(TokenRefused):
            subject.tick(NOW + 5)

    def test_expiry_of_the_request(self) -> None:
        """A token of the request that expires before the hello ends the connection."""
        with pytest.raises(TokenRefused):
            Session(RULES, NOW, verify(token(expires=NOW + 5), NOW)).tick(NOW + 5)


FRAMES = st.sampled_from(
    [HELLO, SUBSCRIBE, UNSUBSCRIBE, AUTH, PUBLISH, READ, ARCHIVE, ACK, UNKNOWN, INVALID, "activity", "welcomed"]
)


@given(st.lists(st.tuples(FRAMES, st.floats(0, 9))))
def test_random_histories(history: list[tuple[str, float]]) -> None:
    """After any frames at any times, a session has ended with a documented error, or its next tick is in the future."""
    subject, now = Session(BEATING, NOW), NOW
    with contextlib.suppress(Disconnect):
        for text, pause in history:
            now += pause
            subject.tick(now)
            if text == "activity":
                subject.note_activity()
            elif text == "welcomed":
                if subject.state is State.ATTACHING:
                    subject.welcomed()
            else:
                subject.receive(text, now)
            assert len(set(subject.topics)) == len(subject.topics) <= BEATING.max_topics
            assert subject.state is State.GREETING or subject.identity
            assert subject.next_tick() > now


def test_frames_before_the_hello() -> None:
    """Before a client has authenticated, it may send a hello and some pings."""
    stranger = Session(RULES, 0.0)
    for _ in range(8):
        stranger.count_stranger()
    with pytest.raises(ProtocolViolation):
        stranger.count_stranger()
