"""A worker's position in a log: what counts as seen, as missed, and as sent."""

import pytest

from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, Entry
from notifier.protocol.log_position import LogPosition


def entry(ms: int, previous: int, kind: bytes = NOTIFICATION) -> Entry:
    return Entry(b"%d-0" % ms, b"%d-0" % previous, kind, b"{}")


@pytest.fixture
def position() -> LogPosition[str]:
    """Return a position of which the worker is sure: it has seen the entry of ms 5."""
    position: LogPosition[str] = LogPosition()
    position.confirm(Cursor(5, 0))
    return position


class TestConfirm:
    def test_first(self) -> None:
        """Before the confirmation the end of the log is unknown; afterwards it is known."""
        position: LogPosition[str] = LogPosition()
        assert not position.confirmed
        assert position.last == BEGINNING
        position.confirm(Cursor(5, 1))
        assert position.confirmed
        assert position.last == Cursor(5, 1)
        assert position.seen == position.delivered == b"5-1"

    def test_never_back(self, position: LogPosition[str]) -> None:
        """A confirmed log end that is older than a received entry does not move the position back."""
        position.follow([entry(10, 5)])
        position.confirm(Cursor(9, 0))
        assert position.seen == position.delivered == b"10-0"

    def test_lost(self, position: LogPosition[str]) -> None:
        """A lost subscription keeps what was seen; ids of another server count even if they are lower."""
        position.run_ahead("ada", Cursor(9, 0), Cursor(5, 0))
        position.lose_subscription()
        assert not position.confirmed
        assert position.seen == b"5-0"
        assert position.sent_to("ada") == Cursor(5, 0)

    def test_restart(self, position: LogPosition[str]) -> None:
        """The first entry after an erasure does not count as a gap, and no member has been sent any of the new log."""
        position.run_ahead("ada", Cursor(9, 0), Cursor(5, 0))
        position.restart()
        assert position.seen == position.delivered == b"0-0"
        assert position.sent_to("ada") == BEGINNING
        assert not position.follow([entry(7, 0)])

    def test_unchanged_memory(self, position: LogPosition[str]) -> None:
        """A channel without connections ahead of it uses as little memory as before."""
        position.run_ahead("ada", Cursor(9, 0), Cursor(5, 0))
        position.forget("ada")
        position.run_ahead("bob", Cursor(6, 0), Cursor(5, 0))
        position.follow([entry(6, 5)])
        position.leave_out_overtaken([entry(6, 5)], {})
        position.forget("bob")
        assert position._ahead is None
        assert position._passed is None

    def test_a_replay_that_ends_within_a_fan_out(self, position: LogPosition[str]) -> None:
        """A connection that went live with entries that are being fanned out is not sent them again."""
        entries = [entry(6, 5), entry(7, 6)]
        position.follow(entries)
        position.run_ahead("ada", Cursor(7, 0), Cursor(9, 0))
        chosen: dict[str, list[Entry]] = {}
        position.leave_out_overtaken(entries, chosen)
        assert chosen == {"ada": []}

    def test_a_pause(self, position: LogPosition[str]) -> None:
        """Within a fan-out, the entries count as sent to connections that were written to, and to no others."""
        position.follow([entry(6, 5)])
        position.pause(lambda member: member == "ada")
        assert (position.sent_to("ada"), position.sent_to("bob")) == (Cursor(6, 0), Cursor(5, 0))
        position.fanned_out()
        position.follow([entry(7, 6)])
        assert position.sent_to("ada") == Cursor(6, 0)


class TestFollow:
    @pytest.mark.parametrize(
        ("entries", "has_gap", "seen"),
        [
            ([entry(6, 5)], False, b"6-0"),
            ([entry(6, 5), entry(8, 6)], False, b"8-0"),
            ([entry(9, 7)], True, b"9-0"),
            ([entry(6, 5), entry(9, 7)], True, b"9-0"),
            ([entry(4, 3)], False, b"5-0"),  # known from the log's end
            ([entry(6, 5, EPHEMERAL)], False, b"5-0"),
            ([entry(9, 7, EPHEMERAL)], True, b"7-0"),
            ([entry(3, 5)], False, b"3-0"),  # the log goes on after its clock stepped back
            ([entry(9, 10)], True, b"9-0"),
        ],
    )
    def test_follow(self, position: LogPosition[str], entries: list[Entry], has_gap: bool, seen: bytes) -> None:
        """An entry that names a later predecessor than the one seen reveals a gap; ephemeral entries are in no log."""
        assert position.follow(entries) == has_gap
        assert position.seen == seen
        assert position.delivered == b"5-0"
        position.fanned_out()
        assert position.delivered == seen


class TestAhead:
    def test_who_is_ahead(self, position: LogPosition[str]) -> None:
        """Connections that were sent more than the worker has surely received have a position of their own.

        The log's end at the confirmation need not have been received.
        """
        sent = (("ada", 3), ("bob", 4), ("cy", 6), ("di", 7), ("cy", 5))
        for member, ms in sent:
            position.run_ahead(member, Cursor(ms, 0), Cursor(4, 0))
        position.forget("di")
        position.forget("eve")
        assert [name for name, _ in sent[:4] if position.is_ahead_of(name, Cursor(3, 0))] == ["bob", "cy"]
        assert position.is_ahead_of("cy", Cursor(5, 9))
        assert not position.is_ahead_of("cy", Cursor(6, 0))
        assert [position.sent_to(member) for member in ("ada", "cy")] == [Cursor(5, 0), Cursor(6, 0)]

    def test_overtaken(self, position: LogPosition[str]) -> None:
        """Entries that replay has covered are left out once they are received; ephemeral entries are not."""
        entries = [entry(6, 5), entry(7, 6, EPHEMERAL), entry(8, 6)]
        for member, ms in (("ada", 6), ("bob", 8), ("cy", 9), ("di", 5)):
            position.run_ahead(member, Cursor(ms, 0), Cursor(5, 0))
        muted = [entries[2]]
        chosen = {"ada": muted, "eve": muted}
        position.leave_out_overtaken(entries, chosen)
        assert chosen == {"ada": muted, "bob": entries[1:2], "cy": entries[1:2], "eve": muted}
        position.leave_out_overtaken([entry(9, 8), entry(10, 9)], chosen := {})
        assert chosen == {"cy": [entry(10, 9)]}
        position.leave_out_overtaken([entry(9, 8)], chosen := {})
        assert chosen == {}
