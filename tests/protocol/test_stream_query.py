"""Query strings: parameters become a hello and subscriptions, or one clear problem."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadRequest, Problem, TooManySubscriptions
from notifier.protocol import stream_query
from notifier.protocol.frames import Hello, Subscribe
from tests.kit.cases import rows

SINCE, LATER = "1763661600123-7", "1763661600999-0"


def test_nothing() -> None:
    """A request without parameters is an empty hello."""
    assert stream_query.read([], "", 3) == (Hello(), (), None)


def test_everything() -> None:
    """Topics, some with their own cursor, a common cursor, and how long to wait."""
    items = [
        ("topic", "a"),
        ("since", LATER),
        ("topic", f"b {SINCE}"),
        ("wait", "2.5"),
        ("topic", "Ünï:ço/dé"),
        ("x", "y"),
    ]
    assert stream_query.read(items, "", 3) == (
        Hello(since=LATER, topics=("a", "Ünï:ço/dé")),
        (Subscribe(topic="b", since=SINCE, ref="b"),),
        2.5,
    )


def test_a_later_cursor_of_a_topic() -> None:
    """A topic's own cursor can be earlier than the common one, but not later."""
    assert stream_query.read([("topic", f"b {LATER}"), ("since", SINCE)], "", 3).joins[0].since == SINCE
    assert stream_query.read([("topic", f"b {LATER}")], "", 3).joins[0].since == LATER


def test_a_browser_that_comes_back() -> None:
    """The last event id replaces the cursors of the query, for every topic."""
    items = [("since", SINCE), ("topic", f"b {SINCE}"), ("topic", "a")]
    assert stream_query.read(items, LATER, 3) == (Hello(since=LATER, topics=("b", "a")), (), None)


def test_the_old_query_of_a_browser_is_not_looked_at() -> None:
    """A wrong cursor that the last event id replaces is ignored."""
    assert stream_query.read([("since", "nonsense")], LATER, 3).hello.since == LATER


def test_leading_zeros() -> None:
    """A cursor is passed on in its canonical form."""
    assert stream_query.read([("since", "007-01")], "", 3).hello.since == "7-1"


def test_the_last_since_counts() -> None:
    """Of several, the last counts, as in a form."""
    assert stream_query.read([("since", SINCE), ("since", LATER)], "", 3).hello.since == LATER


def test_an_empty_since_is_none() -> None:
    """A client may leave the value empty when it has no cursor yet."""
    assert stream_query.read([("since", "")], "", 3).hello.since is None


def test_a_long_topic_is_no_long_ref() -> None:
    """A ref has at most 64 characters."""
    [join] = stream_query.read([("topic", f"{'x' * 100} {SINCE}")], "", 3).joins
    assert join.topic == "x" * 100 and join.ref == "x" * 64


@rows(
    ("items", "last_event_id", "sentence"),
    [
        ([("since", "yesterday")], "", "since: a cursor is <milliseconds>-<sequence>."),
        ([("since", "1-2-3")], "", "since: a cursor is <milliseconds>-<sequence>."),
        ([], "42", "since: a cursor is <milliseconds>-<sequence>."),
        ([("topic", "a b")], "", "topic: a cursor is <milliseconds>-<sequence>."),
        ([("topic", f"a {SINCE} ")], "", "topic: a cursor is <milliseconds>-<sequence>."),
        *(([("wait", text)], "", "wait: a number of seconds.") for text in ("", "soon", "-1", "nan", "inf", "1e6")),
    ],
)
def test_wrong(items: list[tuple[str, str]], last_event_id: str, sentence: str) -> None:
    """The problem names the mistake in one sentence."""
    with pytest.raises(BadRequest) as caught:
        stream_query.read(items, last_event_id, 3)
    assert caught.value.detail == sentence


def test_too_many_topics() -> None:
    """Topics with a cursor of their own count, too."""
    items = [("topic", "a"), ("topic", f"b {SINCE}"), ("topic", "c")]
    assert stream_query.read(items, "", 3)
    with pytest.raises(TooManySubscriptions) as caught:
        stream_query.read(items, "", 2)
    assert caught.value.detail == "At most 2 topics."


@given(st.lists(st.tuples(st.sampled_from(["since", "wait", "topic", "other"]), st.text())), st.text())
def test_anything(items: list[tuple[str, str]], last_event_id: str) -> None:
    """Any text is a query or a problem."""
    try:
        asked = stream_query.read(items, last_event_id, 10)
    except Problem as problem:
        assert problem.detail
    else:
        assert len(asked.hello.topics) + len(asked.joins) == sum(name == "topic" for name, _ in items)
