"""Queries: what a plain request for the stream asks for, in place of a hello and subscriptions."""

from collections.abc import Iterable
from typing import NamedTuple

from notifier.errors import BadRequest, TooManySubscriptions
from notifier.protocol import cursor
from notifier.protocol.frames import Hello, Subscribe


class Query(NamedTuple):
    """The frames that a client would have sent, and for how long it would wait, in seconds; None: it does not say."""

    hello: Hello
    joins: tuple[Subscribe, ...]
    wait: float | None


def read(items: Iterable[tuple[str, str]], last_event_id: str, max_topics: int) -> Query:
    """Return what the items of a query ask for: `since`, `wait`, and any number of `topic`.

    A topic may be followed by a blank and a cursor of its own. `last_event_id` is what a browser's EventSource says
    when it comes back; empty: nothing. It counts more than the query, which is as old as the page. Other items are
    somebody else's.

    Raises:
        BadRequest: something is no cursor, or no number.
        TooManySubscriptions: so many topics a connection may not have.
    """
    since, wait = last_event_id, None
    topics: list[str] = []
    joins: list[Subscribe] = []
    for name, value in items:
        match name:
            case "since" if not last_event_id:
                since = value
            case "wait":
                wait = _seconds(value)
            case "topic":
                topic, _, own = value.partition(" ")
                if own and not last_event_id:
                    joins.append(Subscribe(topic=topic, since=_cursor("topic", own), ref=topic[:64]))
                else:
                    topics.append(topic)
    if len(topics) + len(joins) > max_topics:
        raise TooManySubscriptions(f"At most {max_topics} topics.")
    return Query(Hello(since=_cursor("since", since) if since else None, topics=tuple(topics)), tuple(joins), wait)


def _cursor(name: str, text: str) -> str:
    try:
        return str(cursor.parse(text))
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
