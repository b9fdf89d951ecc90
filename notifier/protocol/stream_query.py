"""Query strings of plain HTTP requests for the stream, which replace the frames `hello` and `subscribe`."""

from collections.abc import Iterable
from typing import NamedTuple

from notifier.errors import BadRequest, TooManySubscriptions
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Hello, Subscribe


class Query(NamedTuple):
    """The frames that a WebSocket client would send, and how long to wait, in seconds; None: the default."""

    hello: Hello
    joins: tuple[Subscribe, ...]
    wait: float | None


def read(items: Iterable[tuple[str, str]], last_event_id: str, max_topics: int) -> Query:
    """Return the meaning of the parameters `since`, `wait`, and any number of `topic`. Others are ignored.

    A topic may be followed by a space and its own cursor. The earlier of this cursor and `since` counts, as with a
    `subscribe` frame. `last_event_id` is the header that a browser's EventSource sends when it reconnects; empty:
    there is none. It replaces the cursors in the query, which are as old as the page.

    Raises:
        BadRequest: a cursor or a number is wrong.
        TooManySubscriptions: a connection may not have so many topics.
    """
    since, wait = last_event_id, None
    topics: list[str] = []
    joins: list[tuple[str, Cursor]] = []
    for name, value in items:
        match name:
            case "since" if not last_event_id:
                since = value
            case "wait":
                wait = _seconds(value)
            case "topic":
                topic, _, own = value.partition(" ")
                if own and not last_event_id:
                    joins.append((topic, _cursor("topic", own)))
                else:
                    topics.append(topic)
    if len(topics) + len(joins) > max_topics:
        raise TooManySubscriptions(f"At most {max_topics} topics.")
    start = _cursor("since", since) if since else None
    return Query(Hello(since=str(start) if start else None, topics=tuple(topics)), _joins(joins, start), wait)


def _joins(joins: list[tuple[str, Cursor]], start: Cursor | None) -> tuple[Subscribe, ...]:
    return tuple(Subscribe(topic=topic, since=str(min(own, start or own)), ref=topic[:64]) for topic, own in joins)


def _cursor(name: str, text: str) -> Cursor:
    try:
        return cursor.parse(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}.") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise BadRequest("wait: a number of seconds.")
    return seconds
