"""The oracle: checks that each client received everything that it was entitled to, once and in order."""

from collections.abc import Iterable
from typing import NamedTuple

from chaos.cursors import OVERLAP, Cursor
from chaos.entitlement import entitled, is_early, may_be_muted, offences
from chaos.ledger import Ledger, Publication
from chaos.witness import Callback, Loss, Witness


class Violation(NamedTuple):
    """A guarantee that was not kept, between `since` and `until` (monotonic seconds).

    `owner` is the name of the owner of the inbox that it concerns.
    """

    kind: str
    witness: Witness | None
    text: str
    channel: str = ""
    publication: Publication | None = None
    since: float = 0.0
    until: float = 0.0
    owner: str = ""


def judge(ledger: Ledger, witnesses: Iterable[Witness], max_history: int) -> list[Violation]:
    """Return every violation."""
    violations = []
    for witness in witnesses:
        violations += [Violation("complaint", witness, text) for text in witness.complaints]
        violations += [_hole(witness, publication) for publication in missing(ledger, witness)]
        violations += _wrong(ledger, witness)
        violations += _twice(ledger, witness)
        violations += _disorder(ledger, witness)
        violations += _false_alarms(ledger, witness, max_history)
    return violations


def missing(ledger: Ledger, witness: Witness) -> list[Publication]:
    """Return what a client was entitled to, has not received, and was not reported as lost."""
    got = {callback.key for callback in witness.callbacks}
    return [
        publication
        for publication in ledger.acknowledged_in(witness.channels)
        if publication.is_durable
        and publication.key not in got
        and (places := entitled(witness, publication))
        and not all(
            _is_reported(witness, channel, cursor) or _is_lost(ledger, witness, publication, channel)
            for channel, cursor in places
        )
    ]


class Outstanding:
    """The notifications that a client must still receive after the last publication."""

    def __init__(self, ledger: Ledger, witness: Witness) -> None:
        self.witness = witness
        self._ledger = ledger
        self._determine()

    def gains(self) -> bool:
        """Return whether the client has received anything since the last look, duplicates included."""
        return self._counts() != self._seen

    def is_settled(self) -> bool:
        """Look at what has arrived since the last look, and return whether everything has."""
        callbacks, losses, _ = self._seen
        if len(self.witness.losses) > losses:
            self._determine()
        else:
            self._outstanding.difference_update(callback.key for callback in self.witness.callbacks[callbacks:])
            self._look()
        return not self._outstanding and not self.witness.is_replaying

    def _determine(self) -> None:
        self._look()
        self._outstanding = {publication.key for publication in missing(self._ledger, self.witness)}

    def _look(self) -> None:
        self._seen = self._counts()

    def _counts(self) -> tuple[int, int, int]:
        return len(self.witness.callbacks), len(self.witness.losses), self.witness.replayed


def _is_reported(witness: Witness, channel: str, cursor: Cursor) -> bool:
    """Return whether a loss was reported for the channel at the place where this entry would have been."""
    reported = [loss for loss in witness.losses if channel in loss.channels]
    if not reported:
        return False  # the search below is slow, and clients are connected while the oracle works
    before, after = _neighbours(witness, channel, cursor)
    start = before[0] + 1 if before else 0
    end = after[0] if after else len(witness.callbacks)
    return any(start <= loss.after <= end for loss in reported)


def _is_lost(ledger: Ledger, witness: Witness, publication: Publication, channel: str) -> bool:
    """Return whether a loss was reported for the channel after a crash that may have lost this entry.

    What the log still has from before the crash may follow the report: the history otherwise loses its oldest entries.
    """
    crashes = ledger.crashes_around(publication)
    return any(loss.at >= crash for loss in witness.losses if channel in loss.channels for crash in crashes)


def _neighbours(
    witness: Witness, channel: str, cursor: Cursor
) -> tuple[tuple[int, Callback] | None, tuple[int, Callback] | None]:
    """Return the callbacks of a channel just before and after a cursor, with their indexes."""
    before = after = None
    for place, callback in enumerate(witness.callbacks):
        if callback.channel != channel:
            continue
        if callback.cursor < cursor:
            before = place, callback
        elif after is None and callback.cursor > cursor:
            after = place, callback
    return before, after


def _hole(witness: Witness, publication: Publication) -> Violation:
    [(channel, cursor), *_] = entitled(witness, publication)
    before, after = _neighbours(witness, channel, cursor)
    text = f"{publication.key} in {channel} at {_text(cursor)} was never received"
    since = min(publication.attempts[0][0], before[1].at if before else publication.attempts[0][0])
    until = max(publication.acknowledged, after[1].at if after else 0)
    kind = "behind" if witness.is_behind else "missing"
    return Violation(kind, witness, text, channel, publication, since, until)


def _wrong(ledger: Ledger, witness: Witness) -> list[Violation]:
    """Find notifications that were not published like this, or that this client must not receive."""
    violations = []
    for callback in witness.callbacks:
        publication = ledger.publications.get(callback.key)
        at = callback.at
        for kind, text in _faults(ledger, witness, callback, publication):
            violations.append(Violation(kind, witness, text, callback.channel, publication, at, at))
    return violations


def _faults(
    ledger: Ledger, witness: Witness, callback: Callback, publication: Publication | None
) -> Iterable[tuple[str, str]]:
    if publication is None or callback.channel not in publication.channels:
        yield "wrong", f"{callback.key or callback.id} in {callback.channel} was never published there"
        return
    if callback.channel not in witness.channels and callback.channel[6:] not in witness.granted:
        yield "wrong", f"{callback.key} in {callback.channel} is not for {witness.user} with {witness.topics}"
    else:
        yield from offences(witness, callback, publication)
    if not publication.acknowledged or ledger.is_torn(publication):
        return
    if callback.id != publication.id or callback.cursor != publication.cursors[callback.channel]:
        cursor = _text(publication.cursors[callback.channel])
        came = f"{callback.id} {_text(callback.cursor)}"
        yield "wrong", f"{callback.key} came as {came}, not {publication.id} {cursor}"


def _twice(ledger: Ledger, witness: Witness) -> list[Violation]:
    seen: dict[str, Callback] = {}
    violations = []
    for callback in witness.callbacks:
        first = seen.setdefault(callback.key, callback)
        publication = ledger.publications.get(callback.key)
        if first is not callback and not (publication and ledger.is_torn(publication)):
            text = (
                f"{callback.key} was received twice: {first.channel} {_text(first.cursor)}, "
                f"{callback.channel} {_text(callback.cursor)}"
            )
            violations.append(Violation("twice", witness, text, callback.channel, None, first.at, callback.at))
    return violations


def is_ephemeral(ledger: Ledger, callback: Callback) -> bool:
    """Return whether a notification is not stored: it may arrive after later entries that were replayed."""
    publication = ledger.publications.get(callback.key)
    return publication is not None and not publication.retained


def _disorder(ledger: Ledger, witness: Witness) -> list[Violation]:
    violations = []
    highest: dict[str, Callback] = {}
    highest_ms = 0
    for callback in witness.callbacks:
        if is_early(witness, callback) or is_ephemeral(ledger, callback):
            continue
        publication = ledger.publications.get(callback.key)
        if publication and may_be_muted(witness, publication, callback.channel):
            continue  # once the mute is lifted, a replay repeats it
        if witness.wanders and callback.channel[6:] in witness.members.names:
            continue  # members still receive topics that they unsubscribed from, and then their replay
        last = highest.get(callback.channel)
        if last and callback.cursor <= last.cursor:
            text = f"{callback.key} in {callback.channel} at {_text(callback.cursor)} came after {_text(last.cursor)}"
            violations.append(Violation("disorder", witness, text, callback.channel, publication, last.at, callback.at))
        else:
            highest[callback.channel] = callback
        if witness.pasts.cover(callback.channel, callback.cursor, callback.at):
            continue
        is_far_back = callback.cursor[0] < highest_ms - OVERLAP
        if is_far_back and callback.channel in witness.entitled:  # workers may learn late of a membership
            text = f"{callback.key} in {callback.channel} at {_text(callback.cursor)} came after {highest_ms}"
            at = callback.at
            violations.append(Violation("far back", witness, text, callback.channel, publication, at, at))
        highest_ms = max(highest_ms, callback.cursor[0])
    return violations


def _false_alarms(ledger: Ledger, witness: Witness, max_history: int) -> list[Violation]:
    """Find reported losses that the limit of the history does not explain."""
    return [
        Violation(
            "false alarm",
            witness,
            f"{channel} lost nothing",
            channel,
            None,
            loss.at,
            loss.at,
        )
        for loss in witness.losses
        for channel in loss.channels
        if not _exceeded(ledger, channel, loss, max_history)
    ]


def _exceeded(ledger: Ledger, channel: str, loss: Loss, max_history: int) -> bool:
    """Return whether a loss may have happened between the client's cursor and its report.

    The history may have exceeded its limit, or a crash may have lost entries. The overlap counts: the service does not
    know what the client received of it.
    """
    begin = (loss.since[0] - OVERLAP, 0)
    stored = [
        publication
        for publication in ledger.publications.values()
        if channel in publication.channels and publication.retained and publication.attempts_began_before(loss.at)
    ]
    count = sum(publication.cursors.get(channel, (1 << 62, 0)) > begin for publication in stored)
    return count > max_history or any(map(ledger.crashes_around, stored))


def _text(cursor: Cursor) -> str:
    return f"{cursor[0]}-{cursor[1]}"
