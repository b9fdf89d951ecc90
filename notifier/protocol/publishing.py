"""Publishing by clients: the `publish` frame, and idempotency keys."""

from typing import NamedTuple
from urllib.parse import quote

from notifier.errors import Forbidden, InvalidFrame, InvalidIdempotencyKey, Problem
from notifier.protocol import channel, notification
from notifier.protocol import tenant as tenants
from notifier.protocol.frames import Publish
from notifier.protocol.identity import Identity
from notifier.protocol.notification import Limits, Publication

MAX_KEY = 255  # characters of an idempotency key


class Publishing(NamedTuple):
    """A publication of a client, which is confirmed under `ref`.

    A retry must have the same `body`. `key` is the idempotency key, distinct for each user; empty: none. Without
    `echo` the connection does not receive its own notification.
    """

    ref: str | None
    publication: Publication
    body: bytes
    key: str = ""
    echo: bool = True


def read(frame: Publish, identity: Identity, limits: Limits) -> Publishing:
    """Return the publication in a frame of a client.

    Raises:
        InvalidFrame, Forbidden, InvalidNotification, InvalidIdempotencyKey, BodyTooLarge: with the `ref` of the frame.
    """
    try:
        fault = channel.fault_of_topic(frame.topic)
        if fault:
            raise InvalidFrame(f"topic: {fault}")
        if not identity.may_publish(frame.topic):
            raise Forbidden(f"The token does not grant publishing to the topic {frame.topic}.", topic=frame.topic)
        publication = notification.parse_to_topic(
            identity.scoped(frame.topic), bytes(frame.notification), tenants.outward(identity.user), limits
        )
        given = frame.idempotency_key
        # A user is not the API key with the same name: the quoted id of a key never begins with @.
        key = "" if given is None else "@" + idempotency_key(identity.user, given)
    except Problem as problem:
        if frame.ref is not None:
            problem.fields["ref"] = frame.ref
        raise
    return Publishing(frame.ref, publication, frame.topic.encode() + b" " + frame.notification, key, frame.echo)


def idempotency_key(publisher: str, given: str) -> str:
    """Return an idempotency key that is distinct from those of other publishers.

    Raises:
        InvalidIdempotencyKey: the given key is empty, too long, or not printable ASCII.
    """
    if not 0 < len(given) <= MAX_KEY or not given.isascii() or not given.isprintable():
        raise InvalidIdempotencyKey(f"From 1 to {MAX_KEY} printable ASCII characters.")
    # Quoted, so that a colon cannot make two keys equal, and a brace cannot change the Redis hash tag.
    return f"{quote(publisher, safe='')}:{quote(given, safe='')}"
