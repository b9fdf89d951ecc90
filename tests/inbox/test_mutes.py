"""Mutes: what connections are not sent."""

import pytest

from notifier.inbox.mutes import Mutes, mutes_of, names_of
from notifier.protocol.entry import EPHEMERAL, HISTORY, MUTED, NOTIFICATION, REMOVED, Entry
from notifier.protocol.inbox_state import NOTHING

SINCE = 1000  # Unix ms


def entry(ms: int, type: str = "", kind: bytes = NOTIFICATION) -> Entry:
    body = b'{"id":"x","type":"%b"}' % type.encode() if type else b'{"id":"x"}'
    return Entry(b"%d-0" % ms, b"", kind, body)


def muting(mutes: Mutes[str], *connections: str, types: str = "", topics: str = "") -> None:
    state = NOTHING._replace(mutes=dict.fromkeys(names_of(types, topics), SINCE))
    for connection in connections:
        mutes.update(connection, state)


@pytest.fixture
def mutes() -> Mutes[str]:
    return Mutes()


def test_one_connection(mutes: Mutes[str]) -> None:
    """Muted notifications become entries that are not sent; other kinds, types, topics and times stay as they are."""
    muting(mutes, "ada", types="a", topics="t")
    sent = [
        ("all", entry(SINCE, "b")),
        ("all", entry(SINCE - 1, "a")),
        ("topic:u", entry(SINCE)),
        ("topic:t", entry(SINCE - 1)),
        ("all", entry(SINCE, "a", EPHEMERAL)),
        ("topic:t", entry(SINCE, "a", HISTORY)),
        ("topic:t", Entry(b"2000-0", b"", REMOVED, b"the id of a notification")),
    ]
    muted = [("all", entry(SINCE, "a")), ("user:ada", entry(SINCE + 1, "a")), ("topic:t", entry(SINCE))]
    assert mutes.apply("ada", sent) == sent
    assert mutes.apply("ada", muted) == [(name, each._replace(kind=MUTED)) for name, each in muted]
    assert mutes.apply("bob", muted) is muted


def test_all_connections_of_a_channel(mutes: Mutes[str]) -> None:
    """Only connections that have muted some of the entries are sent others than the rest of the channel."""
    first, second = entry(SINCE, "a"), entry(SINCE + 1, "b")
    connections: dict[str, None] = dict.fromkeys(["ada", "bob", "cy", "di", "ed"])
    assert mutes.apply_to_all(connections, "all", [first]) == {}
    muting(mutes, "bob", "absent", types="a")
    muting(mutes, "cy", types="ab")
    muting(mutes, "di", types="c")
    expected = {
        "bob": [first._replace(kind=MUTED), second],
        "cy": [each._replace(kind=MUTED) for each in (first, second)],
    }
    assert mutes.apply_to_all(connections, "all", [first, second]) == expected
    assert mutes.apply_to_all({"bob": None}, "all", [first, second]) == {"bob": expected["bob"]}
    assert mutes.apply_to_all({"ada": None}, "all", [first]) == mutes.apply_to_all({}, "all", [first]) == {}


def test_a_batch(mutes: Mutes[str]) -> None:
    """Connections with the same mutes are sent the same list, those that have muted something else all of the batch."""
    batch = [entry(SINCE + ms, "ab"[ms % 2]) for ms in range(10)]
    connections: dict[str, None] = dict.fromkeys(["ada", "bob", "cy", "di"])
    muting(mutes, "ada", types="a")
    muting(mutes, "bob", types="ac", topics="u")
    muting(mutes, "cy", types="c", topics="u")
    late = NOTHING._replace(mutes={"type:a": SINCE + 5})
    mutes.update("di", late)
    found = mutes.apply_to_all(connections, "topic:t", batch)
    assert found.keys() == {"ada", "bob", "di"}
    assert found["ada"] is found["bob"]
    assert [each.kind == MUTED for each in found["ada"]] == [True, False] * 5
    assert [each.kind == MUTED for each in found["di"]] == [False] * 6 + [True, False] * 2


def test_update_and_forget(mutes: Mutes[str]) -> None:
    """The last state of a connection counts; without mutes, or after the connection has closed, nothing is muted."""
    muted = [("all", entry(SINCE, "a"))]
    muting(mutes, "ada", "bob", types="a")
    muting(mutes, "ada")
    mutes.forget("bob")
    mutes.forget("bob")
    assert mutes.apply("ada", muted) is mutes.apply("bob", muted) is muted
    muting(mutes, "ada", types="b")
    assert mutes.apply("ada", muted) == muted


def test_names() -> None:
    """Names distinguish types from topics, whatever characters they have; lists of them are sorted."""
    names = names_of(["b:c", "a", "type:x"], ["topic", "a"])
    assert len(set(names)) == 5
    assert mutes_of(dict.fromkeys(names, SINCE)) == {"types": ["a", "b:c", "type:x"], "topics": ["a", "topic"]}
    assert mutes_of({}) == {"types": [], "topics": []}
