"""Subscribing: the topics of a connection, and whether its user may read them."""

from typing import NamedTuple

from notifier.errors import Forbidden, InvalidFrame, Problem
from notifier.protocol import channel, frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Subscribe
from notifier.protocol.identity import Identity


class Attach(NamedTuple):
    """Subscribe the connection to its channels, replay them from `since`, and welcome it.

    `refused` are problems to send after the welcome.
    """

    since: Cursor | None
    topics: tuple[str, ...]
    refused: tuple[Problem, ...]


class Join(NamedTuple):
    """Subscribe the connection to a topic, replay the topic from `since`, then confirm `ref`."""

    ref: str | None
    topic: str
    since: Cursor | None


class Leave(NamedTuple):
    """Unsubscribe the connection from topics, then confirm `ref`."""

    ref: str | None
    topics: tuple[str, ...]


def read(frame: Subscribe, identity: Identity) -> Join:
    """Return the subscription in a frame of a client.

    Raises:
        InvalidFrame, Forbidden: with the `ref` of the frame.
    """
    fault = channel.fault_of_topic(frame.topic)
    if fault:
        raise InvalidFrame(f"topic: {fault}", ref=frame.ref)
    if not identity.may_read(frame.topic):
        raise refusal(frame.topic, frame.ref)
    return Join(frame.ref, identity.scoped(frame.topic), frames.decode_cursor(frame.since, frame.ref))


def may_read(identity: Identity, topic: str) -> bool:
    """Return whether a text is the name of a topic of the user's tenant that the token grants for reading."""
    return identity.may_read(topic) and not channel.fault_of_topic(topic)


def refusal(topic: str, ref: str | None = None) -> Forbidden:
    """Return the problem of a topic that the token does not grant. The name may be of any length."""
    return Forbidden(f"The token does not grant the topic {topic[:128]}.", ref=ref, topic=topic[:128])
