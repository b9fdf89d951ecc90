"""Stories: a short account of a violation in the order of time."""

from chaos.oracle import Violation
from chaos.witness import Callback, Journal, Moment

_MARGIN = 3.0  # seconds before and after the violation
_MOST = 60  # lines


def describe(violation: Violation, journal: Journal) -> str:
    """Return what was expected, and what happened meanwhile to the client and its environment."""
    witness = violation.witness
    names = [name for name in (witness.name if witness else "", violation.owner) if name]
    lines = [f"{violation.kind}: {', '.join(names) + ': ' if names else ''}{violation.text}"]
    if not names or not violation.until:
        return lines[0]
    if witness:
        lines.append(f"  subscribed to {', '.join(sorted(witness.channels))}")
    since, until = violation.since - _MARGIN, violation.until + _MARGIN
    moments = [
        moment
        for moment in journal.moments
        if since <= moment.at <= until and (moment.who in names or not moment.who.startswith(_OTHERS))
    ]
    earlier = [moment for moment in journal.moments if moment.who in names and moment.at < since]
    moments += earlier[-2:]  # about the connection that it had then
    moments += _publication(violation) + _callbacks(violation)
    moments.sort()
    if len(moments) > _MOST:
        half = _MOST // 2
        skipped = Moment(moments[half].at, "...", f"{len(moments) - 2 * half} more")
        moments = [*moments[:half], skipped, *moments[-half:]]
    return "\n".join([*lines, *(f"  {each.at - journal.start:8.3f}  {each.who:20} {each.what}" for each in moments)])


_OTHERS = ("client ", "browser ", "owner ")


def _publication(violation: Violation) -> list[Moment]:
    publication = violation.publication
    if publication is None:
        return []
    moments = [Moment(at, "publisher", f"{publication.key}: {outcome}") for at, outcome in publication.attempts]
    if publication.acknowledged:
        cursors = ", ".join(f"{name} {ms}-{seq}" for name, (ms, seq) in publication.cursors.items())
        moments.append(Moment(publication.acknowledged, "publisher", f"{publication.key} acknowledged: {cursors}"))
    return moments


def _callbacks(violation: Violation) -> list[Moment]:
    """Return the callbacks of the channel around the violation: the last two before it, and the first two after it."""
    witness = violation.witness
    if witness is None:
        return []
    near = [callback for callback in witness.callbacks if callback.channel == violation.channel]
    before = [callback for callback in near if callback.at <= violation.since][-2:]
    during = [callback for callback in near if violation.since < callback.at < violation.until][:6]
    after = [callback for callback in near if callback.at >= violation.until][:2]
    return [_moment(callback) for callback in (*before, *during, *after)]


def _moment(callback: Callback) -> Moment:
    replay = " replay" if callback.replay else ""
    ms, seq = callback.cursor
    return Moment(callback.at, "callback", f"{callback.key} {callback.channel} {ms}-{seq}{replay}")
