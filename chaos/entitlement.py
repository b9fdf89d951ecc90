"""Entitlement: what a client must receive, and what it must not."""

import math
from collections.abc import Iterator

from chaos.cursors import OVERLAP, Cursor
from chaos.ledger import Publication
from chaos.witness import Callback, Witness

_LEARNT_WITHIN = 5.0  # seconds until every worker knows of a removal, if its subscription is dead without an error


def beginning(witness: Witness, channel: str) -> Cursor | None:
    """Return the cursor after which a client must receive a channel, as far as it may at all; None: unknown."""
    return witness.entitled.get(channel) or witness.entitled.get("all")


def is_early(witness: Witness, callback: Callback) -> bool:
    """Return whether an entry is older than the client, which may get it by a replay, but is not entitled to it."""
    begin = beginning(witness, callback.channel)
    return begin is None or callback.cursor[0] <= begin[0]


def entitled(witness: Witness, publication: Publication) -> list[tuple[str, Cursor]]:
    """Return the channels and cursors by which a client must receive a publication."""
    channels = witness.channels
    return [
        (channel, cursor)
        for channel, cursor in publication.cursors.items()
        # From the next millisecond on, because the cursor of a `welcome` has no sequence.
        if channel in channels
        and (begin := beginning(witness, channel))
        and cursor[0] > begin[0]
        and _must_receive(witness, publication, channel, cursor)
    ]


def _must_receive(witness: Witness, publication: Publication, channel: str, cursor: Cursor) -> bool:
    if may_be_muted(witness, publication, channel):
        return False
    if channel in witness.entitled:
        return True
    span = witness.members.covering(channel[6:], publication)
    return span is not None and (span.ending == math.inf or _has_passed(witness, cursor, span.ending))


def _has_passed(witness: Witness, cursor: Cursor, before: float) -> bool:
    """Return whether a client received a so much later entry that this one would have come first."""
    always = ("all", f"user:{witness.user}")
    return any(
        callback.cursor[0] > cursor[0] + OVERLAP and callback.at < before and callback.channel in always
        for callback in witness.callbacks
    )


def may_be_muted(witness: Witness, publication: Publication, channel: str) -> bool:
    """Return whether a user may have muted a publication on a channel: it comes late then, or never."""
    return any(witness.mutes.may_cover(name, publication) for name in muting(publication, channel))


def muting(publication: Publication, channel: str) -> list[str]:
    """Return the names by which a user can mute a publication on a channel."""
    if not publication.for_inbox:
        return []
    return [f"type:{publication.type}", *([channel] if channel.startswith("topic:") else [])]


def offences(witness: Witness, callback: Callback, publication: Publication) -> Iterator[tuple[str, str]]:
    """Yield why a client must not have received a publication to one of its channels: kind and description."""
    what = f"{callback.key} in {callback.channel}"
    topic = callback.channel[6:] if callback.channel.startswith("topic:") else ""
    if topic and topic not in witness.topics and topic not in witness.granted:
        spans = witness.members.may_cover(topic, publication)
        spans = [span for span in spans if callback.cursor[0] >= span.began_ms]
        if not spans:
            yield "not a member", f"{what} was published when {witness.user} was no member"
        elif callback.opened > max(span.ended for span in spans) + _LEARNT_WITHIN:
            yield "former member", f"{what} came on a connection that was opened after {witness.user} was removed"
    for name in muting(publication, callback.channel):
        span = witness.mutes.covering(name, publication)
        # In a shared channel, the user's mutes at the time of delivery apply.
        if span and (callback.at < span.ending or callback.channel == f"user:{witness.user}"):
            yield "muted", f"{what} was published when {witness.user} had muted {name}"
    begin = beginning(witness, callback.channel)
    if begin and callback.cursor[0] < begin[0] - OVERLAP - witness.tolerance:
        yield "early", f"{what} is older than the client, which began at {begin[0]}"
