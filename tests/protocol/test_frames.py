"""Frames: JSON objects in, JSON objects out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from notifier.errors import Disconnect, Forbidden, InvalidFrame, Problem, ProtocolViolation, TokenRefused
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import (
    MAX_REF,
    Ack,
    Archive,
    Auth,
    ClientFrame,
    Hello,
    Publish,
    Read,
    Seen,
    Subscribe,
    Unarchive,
    Unread,
    Unsubscribe,
)
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import NOTHING
from tests.kit.cases import rows

CURSOR = Cursor(1_763_661_600_123, 7)
TEXT = "1763661600123-7"


def decode(**members: object) -> ClientFrame:
    return frames.decode(json.dumps(members))


def refusal(text: str) -> InvalidFrame:
    """Return the problem with which a frame is answered."""
    with pytest.raises(InvalidFrame) as caught:
        frames.decode(text)
    return caught.value


class TestDecode:
    @rows(
        ("members", "frame"),
        [
            ({"type": "hello"}, Hello()),
            (
                {"type": "hello", "token": "t", "since": TEXT, "topics": ["a", "b"]},
                Hello(token="t", since=TEXT, topics=("a", "b")),
            ),
            ({"type": "hello", "token": None, "since": None, "ref": None}, Hello()),
            ({"type": "subscribe", "topic": "a"}, Subscribe(topic="a")),
            (
                {"type": "subscribe", "ref": "r", "topic": "a", "since": TEXT},
                Subscribe(ref="r", topic="a", since=TEXT),
            ),
            ({"type": "unsubscribe", "ref": "r", "topic": "a"}, Unsubscribe(ref="r", topic="a")),
            ({"type": "auth", "ref": "", "token": "t"}, Auth(ref="", token="t")),
            (
                {"type": "publish", "topic": "a", "notification": {}},
                Publish(topic="a", notification=Raw(b"{}"), echo=True, idempotency_key=None),
            ),
            (
                {"type": "publish", "ref": "r", "topic": "a", "notification": 5, "echo": False, "idempotency_key": "k"},
                Publish(ref="r", topic="a", notification=Raw(b"5"), echo=False, idempotency_key="k"),
            ),
            ({"type": "seen", "up_to": TEXT}, Seen(up_to=TEXT)),
            ({"type": "read", "ref": "r", "ids": ["a", "b"]}, Read(ref="r", ids=("a", "b"))),
            ({"type": "unread", "ids": []}, Unread(ids=())),
            ({"type": "archive", "ids": None}, Archive()),
            ({"type": "unarchive"}, Unarchive()),
            ({"type": "ack", "cursor": TEXT}, Ack(cursor=TEXT)),
            ({"type": "ack", "cursor": TEXT, "since": "1-0"}, Ack(cursor=TEXT, since="1-0")),
        ],
    )
    def test_frames(self, members: dict[str, Any], frame: ClientFrame) -> None:
        """Each frame of a client has its members, and may leave out some."""
        assert decode(**members) == frame

    def test_unknown_members(self) -> None:
        """Members of a later version are ignored, in any order."""
        assert decode(topic="a", priority={"x": [1, None]}, type="subscribe") == Subscribe(topic="a")

    @rows("text", ["", " ", "x", "{", '{"type":"hello"', '{"type":"hello"}x', "NaN", "\ufeff{}"])
    def test_no_json(self, text: str) -> None:
        """A frame that is not JSON ends the connection."""
        with pytest.raises(ProtocolViolation):
            frames.decode(text)

    @rows("text", ["null", "true", "5", '"hello"', "[]", '[{"type":"hello"}]'])
    def test_no_object(self, text: str) -> None:
        """A frame that is not a JSON object ends the connection."""
        with pytest.raises(ProtocolViolation):
            frames.decode(text)

    @rows("depth", [67, 500, 1000, 30_000])
    @rows(("left", "right"), [("[", "]"), ('{"ref":', "}"), ('["\\"",', "]")])
    def test_deep(self, depth: int, left: str, right: str) -> None:
        """A frame that is nested too deeply is rejected under its ref, if the ref is not far behind."""
        deep = left * depth + "0" + right * depth
        first, last = f'{{"type":"publish","ref":"a\\u0062","x":{deep}}}', f'{{"x":{deep}, "ref" : "ab"}}'
        for text, ref in ((first, "ab"), (last, "ab" if depth <= 1000 else None)):
            with pytest.raises(InvalidFrame) as caught:
                frames.decode(text)
            assert caught.value.fields["ref"] == ref
        with pytest.raises(InvalidFrame) as caught:
            frames.decode(f'{{"x":{deep},"ref":5}}')
        assert caught.value.fields["ref"] is None

    def test_deep_and_no_object(self) -> None:
        """Anything but a JSON object ends the connection, however deep it is."""
        with pytest.raises(ProtocolViolation):
            frames.decode("[" * 60_000)

    def test_deepest(self) -> None:
        """The data of a publish frame may have as many levels as that of any other notification."""
        deepest = "[" * 64 + "]" * 64
        frame = frames.decode(f'{{"type":"publish","topic":"t","notification":{{"data":{deepest}}}}}')
        assert isinstance(frame, frames.Publish)

    @rows(
        "members",
        [
            {},
            {"type": None},
            {"type": 5},
            {"type": ""},
            {"type": "welcome"},
            {"type": "Hello"},
            {"type": "_clientframe"},
            {"type": "subscribe"},
            {"type": "unsubscribe"},
            {"type": "auth"},
            {"type": "hello", "token": 5},
            {"type": "hello", "since": 1763661600123},
            {"type": "hello", "topics": "orders"},
            {"type": "hello", "topics": [5]},
            {"type": "hello", "topics": None},
            {"type": "subscribe", "topic": None},
            {"type": "subscribe", "topic": ["a"]},
            {"type": "subscribe", "topic": "a", "since": 5},
            {"type": "auth", "token": None},
            {"type": "read", "ids": "a"},
            {"type": "read", "ids": [5]},
            {"type": "read", "up_to": 5},
            {"type": "_action", "ids": []},
            {"type": "ack"},
            {"type": "ack", "cursor": 5},
        ],
    )
    def test_wrong(self, members: dict[str, Any]) -> None:
        """An object of an unknown type or with a wrong member is answered, under its ref."""
        assert refusal(json.dumps(members | {"ref": "r1"})).fields == {"ref": "r1"}
        assert refusal(json.dumps(members)).fields == {"ref": None}

    def test_wrong_number(self) -> None:
        """A member that is a number, however large, is a wrong member and not a broken connection."""
        assert refusal('{"type":"subscribe","ref":"r1","topic":1e999}').fields == {"ref": "r1"}
        assert refusal('{"type":"nothing","ref":"r1","topic":-%s}' % (5000 * "9")).fields == {"ref": "r1"}

    @rows("ref", [5, True, [], {}, "r" * (MAX_REF + 1)])
    def test_wrong_ref(self, ref: object) -> None:
        """A ref is a string of a bounded length; any other ref is not returned."""
        assert refusal(json.dumps({"type": "subscribe", "topic": "a", "ref": ref})).fields == {"ref": None}
        assert refusal(json.dumps({"type": "dance", "ref": ref})).fields == {"ref": None}

    def test_a_ref_that_is_no_text(self) -> None:
        """A ref that no answer can repeat is not returned."""
        for type in ("dance", "auth"):
            problem = refusal(f'{{"type":"{type}","ref":"\\ud800","token":"t"}}')
            assert "ref" not in json.loads(frames.error(problem))

    def test_longest_ref(self) -> None:
        """A ref has 64 characters, of whatever script."""
        assert decode(type="auth", token="t", ref="é" * MAX_REF).ref == "é" * MAX_REF

    def test_since(self) -> None:
        """A cursor is read from its text; without a text there is no cursor."""
        assert frames.decode_cursor(TEXT) == CURSOR
        assert frames.decode_cursor(None) is None

    @rows("text", ["", "now", "5", "1-2-3", "\ud800"])
    def test_wrong_since(self, text: str) -> None:
        """A `since` that is not a cursor is answered with a problem, under the ref of the frame."""
        with pytest.raises(InvalidFrame, match="since") as caught:
            frames.decode_cursor(text, "r1")
        assert caught.value.fields == {"ref": "r1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["hello", "subscribe", "unsubscribe", "auth", "publish", "read", "ack"]) | JSON,
        "notification": JSON,
        "echo": st.booleans() | JSON,
        "idempotency_key": st.text() | JSON,
        "ref": st.text(max_size=70) | JSON,
        "topic": st.text() | JSON,
        "topics": st.lists(st.text(max_size=9)) | JSON,
        "token": st.text() | JSON,
        "since": st.just(TEXT) | JSON,
        "ids": st.lists(st.text(max_size=9)) | JSON,
        "up_to": st.just(TEXT) | JSON,
        "cursor": st.just(TEXT) | JSON,
    },
)


@given(st.text() | JSON.map(json.dumps) | MEMBERS.map(json.dumps))
def test_random_text(text: str) -> None:
    """Any text is a frame, a problem or the end of the connection; the answer to a problem is valid JSON."""
    try:
        frame = frames.decode(text)
    except Problem as problem:
        assert json.loads(frames.error(problem))["problem"]["code"] == InvalidFrame.code
    except Disconnect as disconnect:
        assert isinstance(disconnect, ProtocolViolation)
    else:
        assert isinstance(frame, ClientFrame)


class TestEncode:
    def test_welcome(self) -> None:
        """The welcome names the user, the topics, the cursor to resume from, and the lost channels."""
        view = InboxView(NOTHING._replace(revision=17, unread=3, unseen=1, expires=1_700_000_000_500), {})
        frame = frames.welcome("c8-1", "alice", ("orders", "é"), CURSOR, 25, ["all"], view)
        assert json.loads(frame) == {
            "type": "welcome",
            "connection": "c8-1",
            "user": "alice",
            "topics": ["orders", "é"],
            "cursor": TEXT,
            "heartbeat": 25,
            "lost": ["all"],
            "memberships": [],
            "counts": {"unread": 3, "unseen": 1},
            "revision": 17,
            "expires_at": "2023-11-14T22:13:20.500Z",
        }

    def test_state(self) -> None:
        """A state has the counts of the inbox; its changes and the topics are included only if there are any."""
        view = InboxView(NOTHING._replace(revision=3, unread=2, topics={"b": CURSOR, "a": CURSOR}), {})
        state = {"type": "state", "counts": {"unread": 2, "unseen": 0}, "revision": 3, "expires_at": None}
        assert json.loads(frames.state(view, [], memberships=False)) == state
        read = {"revision": 2, "action": "read", "ids": ["x"]}
        assert json.loads(frames.state(view, [read], memberships=False)) == state | {"changes": [read]}
        topics = {"revision": 3, "action": "topics"}
        frame = json.loads(frames.state(view, [read, topics], memberships=True))
        assert frame == state | {"changes": [read, topics], "memberships": ["b", "a"]}

    def test_changed(self) -> None:
        """The answer to an action has the counts after it, and the ids that are not in the inbox."""
        view = InboxView(NOTHING._replace(revision=3, unseen=1, expires=1_700_000_000_500), {})
        assert json.loads(frames.changed("r", view, True, ["x"])) == {
            "type": "ok",
            "ref": "r",
            "counts": {"unread": 0, "unseen": 1},
            "revision": 3,
            "expires_at": "2023-11-14T22:13:20.500Z",
            "changed": True,
            "unknown": ["x"],
        }
        assert "ref" not in json.loads(frames.changed(None, view, False, []))

    def test_notification(self) -> None:
        """A notification carries its JSON as it is, byte for byte."""
        body = b'{"id":"x","data":{"b":1.50,"a":1e400}}'
        frame = frames.notification("topic:orders", TEXT.encode(), body, replay=False)
        assert frame == (
            b'{"type":"notification","cursor":"1763661600123-7","channel":"topic:orders","notification":%b}' % body
        )

    def test_replay(self) -> None:
        """A frame that is replayed from the log is marked."""
        frame = json.loads(frames.notification("all", b"1-0", b'{"id":"x"}', replay=True))
        assert frame.pop("replay") is True
        assert frame == {"type": "notification", "cursor": "1-0", "channel": "all", "notification": {"id": "x"}}

    @rows("name", ['a"b', "a\\b", "é", "日本", "</script>", "a'b"])
    def test_odd_names(self, name: str) -> None:
        """A channel of any name is one JSON string."""
        channel = f"topic:{name}"
        assert json.loads(frames.notification(channel, b"1-0", b"{}", False))["channel"] == channel
        assert json.loads(frames.removed(channel, b"1-0", b"x"))["channel"] == channel
        assert json.loads(frames.lost([channel]))["channels"] == [channel]

    def test_removed(self) -> None:
        """A recall names the notification."""
        frame = json.loads(frames.removed("user:alice", b"1-0", b"019aa2bd"))
        assert frame == {"type": "removed", "cursor": "1-0", "channel": "user:alice", "id": "019aa2bd"}

    def test_lost(self) -> None:
        """The channels that have lost entries are named."""
        assert json.loads(frames.lost(["all", "topic:a"])) == {"type": "lost", "channels": ["all", "topic:a"]}

    def test_ok(self) -> None:
        """A confirmation has the ref and what is subscribed now."""
        assert json.loads(frames.ok("r1", ("a",))) == {"type": "ok", "ref": "r1", "topics": ["a"]}

    def test_published(self) -> None:
        """The answer to a publication has its id and cursor."""
        assert json.loads(frames.published("r1", "an-id", TEXT)) == {
            "type": "ok",
            "ref": "r1",
            "id": "an-id",
            "cursor": TEXT,
        }
        assert "ref" not in json.loads(frames.published(None, "an-id", TEXT))

    def test_close(self) -> None:
        """A close frame contains the code and the reason of a close."""
        close = json.loads(frames.close(TokenRefused("no token")))
        assert close == {"type": "close", "code": 4001, "reason": "no token"}

    def test_error(self) -> None:
        """A refusal has the ref and the problem as it is over HTTP."""
        frame = json.loads(frames.error(Forbidden("Not yours.", ref="r1", topic="a")))
        assert frame == {
            "type": "error",
            "ref": "r1",
            "problem": {
                "type": "/docs/errors#forbidden",
                "title": Forbidden.title,
                "status": 403,
                "code": "forbidden",
                "detail": "Not yours.",
                "topic": "a",
            },
        }

    @rows("frame", [frames.ok(None, ()), frames.error(Forbidden("x", ref=None))])
    def test_no_ref(self, frame: bytes) -> None:
        """The answer to a frame without a ref has none."""
        assert "ref" not in json.loads(frame)

    def test_empty_ref(self) -> None:
        """An empty ref is a ref."""
        assert json.loads(frames.ok("", ()))["ref"] == ""
        assert json.loads(frames.error(Forbidden(ref="")))["ref"] == ""

    def test_small_frames(self) -> None:
        """Ping, expiring and drain are as in the protocol; a ping has a cursor if all entries before it were sent."""
        assert json.loads(frames.ping(None)) == {"type": "ping"}
        assert json.loads(frames.ping(CURSOR)) == {"type": "ping", "cursor": TEXT}
        assert json.loads(frames.expiring(60)) == {"type": "expiring", "in": 60}
        assert json.loads(frames.drain(1500)) == {"type": "drain", "retry_after_ms": 1500}
