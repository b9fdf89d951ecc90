"""Publishing by clients: what they may publish, and as what."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidFrame,
    InvalidIdempotencyKey,
    InvalidNotification,
    MalformedJson,
    Problem,
)
from notifier.protocol import notification, publishing
from notifier.protocol.frames import Publish
from notifier.protocol.identity import Identity
from notifier.protocol.notification import Limits
from tests.kit.cases import rows

ALICE = Identity("alice", 2e9, topics=("secrets",), publish=("orders", "room:*"))
LIMITS = Limits()


def frame(notification: object, topic: str = "room:1", **members: Any) -> Publish:
    raw = notification if isinstance(notification, bytes) else json.dumps(notification).encode()
    return Publish(topic=topic, notification=msgspec.Raw(raw), **{"ref": "7"} | members)


def body(notification: object, who: Identity = ALICE) -> dict[str, Any]:
    """Return the notification as it is sent."""
    publication = publishing.read(frame(notification), who, LIMITS).publication
    document: dict[str, Any] = json.loads(publication.encode("i" * 36, 0))
    return document


def test_publication() -> None:
    """A client publishes to one topic, as its user, for the history."""
    read = publishing.read(frame({"title": "Hello", "data": [1]}, echo=False), ALICE, LIMITS)
    assert (read.ref, read.key, read.echo) == ("7", "", False)
    assert (read.publication.channels, read.publication.retain) == (["topic:room:1"], "history")
    assert body({"title": "Hello", "data": [1]}) | {"id": "", "created_at": ""} == {
        "id": "",
        "created_at": "",
        "title": "Hello",
        "data": [1],
        "severity": "info",
        "sender": "alice",
    }


@rows("retain", ["inbox", "history", "none"])
def test_retain(retain: str) -> None:
    """Another way to be kept may be chosen."""
    read = publishing.read(frame({"type": "typing", "retain": retain}), ALICE, LIMITS)
    assert read.publication.retain == retain


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1))
def test_the_sender_is_the_user(user: str) -> None:
    """A user with any name is the sender."""
    assert body({"title": "Hello"}, ALICE._replace(user=user))["sender"] == user


@rows(
    ("notification", "pointer"),
    [
        ({"title": "Hello", "sender": "bob"}, "/sender"),
        ({"title": "Hello", "id": "1"}, "/id"),
        ({"title": "Hello", "created_at": "2026-01-01T00:00:00Z"}, "/created_at"),
        ({"title": "Hello", "to": {"all": True}}, "/to"),
        ({"title": "Hello", "to": None}, "/to"),
        ({"title": 5}, "/title"),
        ({}, ""),
    ],
)
def test_refused_members(notification: dict[str, Any], pointer: str) -> None:
    """Neither the sender nor the address nor what the service adds can be chosen; a pointer leads to what is wrong."""
    with pytest.raises(InvalidNotification) as caught:
        publishing.read(frame(notification), ALICE, LIMITS)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert caught.value.fields["ref"] == "7"


def test_collapse_keys() -> None:
    """No two publishers have the same collapse key, whatever it consists of. Recipients are sent the key as it came."""
    keys = ["k", "alice", "\x1fk", "\x1f\x1fk", "\x1falice\x1fk", "\x1f\x1falice\x1fk", "alice\x1fk", "\x1f"]
    users = [ALICE, ALICE._replace(user="bob"), ALICE._replace(user="alic"), ALICE._replace(user="k")]
    drafts: list[tuple[str, dict[str, Any]]] = [(key, {"title": "Hello", "collapse_key": key}) for key in keys]
    found = [notification.parse(json.dumps(draft | {"to": {"all": True}}).encode(), LIMITS) for _, draft in drafts]
    for user in users:
        found += [publishing.read(frame(draft), user, LIMITS).publication for _, draft in drafts]
        assert [body(draft, user)["collapse_key"] for _, draft in drafts] == keys
    assert len({each.collapse_key for each in found}) == len(found) == len(keys) * (1 + len(users))
    assert found[0].collapse_key == "k"  # as services before stored it


def test_no_collapse_key() -> None:
    """Without a collapse key nothing is replaced."""
    assert publishing.read(frame({"title": "Hello"}), ALICE, LIMITS).publication.collapse_key == ""


def test_a_sender_within_the_data_is_data() -> None:
    """Text like a sender in other members stays there."""
    out = body({"title": '","sender":"bob', "data": {"sender": "bob"}})
    assert (out["sender"], out["title"], out["data"]) == ("alice", '","sender":"bob', {"sender": "bob"})


@rows(
    ("topic", "problem"),
    [
        ("secrets", Forbidden),  # granted for reading only
        ("room", Forbidden),
        ("orders:1", Forbidden),
        ("Room:1", Forbidden),
        ("room:*", InvalidFrame),
        ("room:{1}", InvalidFrame),
        ("room: 1", InvalidFrame),
        ("", InvalidFrame),
        ("room:" + "1" * 124, InvalidFrame),
    ],
)
def test_refused_topics(topic: str, problem: type[Problem]) -> None:
    """Only topics that the token grants for publishing, named in full."""
    with pytest.raises(problem) as caught:
        publishing.read(frame({"title": "Hello"}, topic), ALICE, LIMITS)
    assert caught.value.fields["ref"] == "7"


def test_granted_topics() -> None:
    """By name, by a pattern, or all of them."""
    for topic in ("orders", "room:", "room:1", "room:" + "1" * 123):
        assert publishing.read(frame({"title": "Hello"}, topic), ALICE, LIMITS)
    everything = ALICE._replace(publish=("*",))
    assert publishing.read(frame({"title": "Hello"}, "anything"), everything, LIMITS)


@rows("raw", [b"5", b"[]", b"null", b'"text"'])
def test_no_object(raw: bytes) -> None:
    """A notification is an object."""
    with pytest.raises(MalformedJson) as caught:
        publishing.read(frame(raw), ALICE, LIMITS)
    assert caught.value.fields["ref"] == "7"


def test_size() -> None:
    """The limit of the HTTP API holds."""
    most = frame(b'{"title":"%b"}' % (b"x" * 38))
    assert publishing.read(most, ALICE, Limits(size=50))
    with pytest.raises(BodyTooLarge) as caught:
        publishing.read(most, ALICE, Limits(size=49))
    assert caught.value.fields["ref"] == "7"


def test_without_a_ref() -> None:
    """A problem of a frame without a ref has none."""
    with pytest.raises(Forbidden) as caught:
        publishing.read(frame({"title": "Hello"}, "secrets", ref=None), ALICE, LIMITS)
    assert "ref" not in caught.value.fields


class TestIdempotencyKey:
    def key(self, user: str, given: str) -> str:
        """Return what a user's key becomes."""
        return publishing.read(frame({"type": "t"}, idempotency_key=given), ALICE._replace(user=user), LIMITS).key

    def test_distinct(self) -> None:
        """Users have keys of their own, and so have API keys of their names."""
        keys = [self.key("alice", "1"), self.key("bob", "1"), self.key("alice", "2"), self.key("alice:1", "2")]
        assert len({*keys, self.key("alice", "1:2"), publishing.idempotency_key("alice", "1")}) == 6

    @given(st.text(min_size=1), st.text(min_size=1), st.text("a:@%{}/", min_size=1), st.text("a:@%{}/", min_size=1))
    def test_no_two_are_one(self, user: str, other: str, given: str, another: str) -> None:
        """Two keys are one only where user and key are."""
        one, two = self.key(user, given), self.key(other, another)
        assert (one == two) == ((user, given) == (other, another))
        assert "{" not in one and "}" not in one

    @rows("given", ["", "x" * 256, "ä", "a\nb", "\x7f"])
    def test_refused(self, given: str) -> None:
        """A key is 1 to 255 printable ASCII characters."""
        with pytest.raises(InvalidIdempotencyKey) as caught:
            self.key("alice", given)
        assert caught.value.fields["ref"] == "7"

    def test_body(self) -> None:
        """A retry has to repeat the topic and the notification, not the ref and not the echo."""
        first = publishing.read(frame({"type": "t"}), ALICE, LIMITS).body
        assert publishing.read(frame({"type": "t"}, ref="8", echo=False), ALICE, LIMITS).body == first
        assert publishing.read(frame({"type": "u"}), ALICE, LIMITS).body != first
        assert publishing.read(frame({"type": "t"}, "room:2"), ALICE, LIMITS).body != first
