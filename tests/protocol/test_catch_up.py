"""Catching up: what is sent, what is put aside and what is named as lost, one step at a time."""

import pytest

from notifier.errors import TooSlow
from notifier.protocol import cursor
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.catch_up_states import IllegalTransition, State
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, Entry, Page
from tests.kit.cases import rows
from tests.protocol.world import World

PLENTY = 10**6  # bytes
A, B, C = "user:a", "topic:b", "all"


def at(entry: Entry) -> Cursor:
    return cursor.parse(entry.id)


def entry(ms: int, previous: int = 0, kind: bytes = NOTIFICATION) -> Entry:
    """Return an entry of ten bytes."""
    return Entry(b"%d-0" % ms, b"%d-0" % previous, kind, b"0123456789")


def page(*times: int, complete: bool = True, floor: int = 0) -> Page:
    """Return a page of the log."""
    return Page([entry(ms)._replace(previous=b"") for ms in times], complete, Cursor(floor, 0))


def nowhere(_: str) -> Cursor:
    return BEGINNING


def reading(positions: dict[str, Cursor | None], max_aside: int = PLENTY) -> CatchUp:
    """Return a catch-up whose logs are being read."""
    catch_up = CatchUp(positions, max_aside)
    catch_up.read(nowhere)
    return catch_up


def serve(catch_up: CatchUp, **pages: Page) -> list[int]:
    """Send what was read of channels `a` and `b`, begin the next read, and return the times of the entries sent."""
    step = catch_up.take({{"a": A, "b": B}[name]: page for name, page in pages.items()})
    catch_up.sent(step.entries)
    catch_up.pause()
    catch_up.read(nowhere)
    return [at(entry).ms for _, entry in step.entries]


class TestTake:
    """Entries that are sent after the log was read."""

    def test_nothing_missed(self) -> None:
        """A connection that has missed nothing is live at once."""
        catch_up = reading({A: Cursor(5, 0), B: Cursor(7, 0)})
        assert catch_up.take({}) == ([], True, [])
        assert catch_up.go_live() == {}
        assert catch_up.state is State.LIVE

    def test_merge(self) -> None:
        """Channels are merged in cursor order."""
        step = reading({A: BEGINNING, B: BEGINNING}).take({A: page(1, 9, 10), B: page(2, 8, 11)})
        sent = [(name, at(entry).ms) for name, entry in step.entries]
        assert sent == [(A, 1), (B, 2), (B, 8), (A, 9), (A, 10), (B, 11)]
        assert step.is_last

    def test_prefix(self) -> None:
        """Nothing after the end of an incomplete page is sent, and the rest is read again."""
        catch_up = reading({A: BEGINNING, B: BEGINNING, C: BEGINNING})
        catch_up.receive(C, [entry(4)])
        step = catch_up.take({A: page(1, 5, complete=False), B: page(2, 3, 6, complete=False), C: page(9)})
        assert [at(entry).ms for _, entry in step.entries] == [1, 2, 3, 5]
        assert not step.is_last

    def test_order_of_numbers(self) -> None:
        """Positions are compared as numbers: 9 is before 10."""
        catch_up = reading({A: Cursor(9, 0)})
        catch_up.receive(A, [entry(9), entry(10, 9)])
        assert serve(catch_up) == [10]

    def test_not_while_it_is_void(self) -> None:
        """Entries that were read before a channel was added or removed are never sent."""
        for change in (
            lambda catch_up: catch_up.add(C),
            lambda catch_up: catch_up.remove(B),
            lambda catch_up: catch_up.resume([A], Cursor(0, 0)),
        ):
            catch_up = reading({A: Cursor(5, 0), B: Cursor(7, 0)})
            change(catch_up)
            assert not catch_up.is_reading
            with pytest.raises(IllegalTransition):
                catch_up.take({})
            assert catch_up.read(nowhere).keys() >= {A}


class TestLiveEntries:
    """Entries that are received while the log is read."""

    def test_aside_waits(self) -> None:
        """Live entries that were put aside are sent with the end of the log, without those that the log had."""
        catch_up = reading({A: BEGINNING, B: BEGINNING})
        catch_up.receive(A, [entry(2), entry(4, 2)])
        assert serve(catch_up, a=page(1, 2, complete=False), b=page(3)) == [1, 2]
        assert serve(catch_up, a=page(), b=page(3)) == [3, 4]

    def test_overflow(self) -> None:
        """When more was put aside than may be, all of it is dropped, and the log is read once more."""
        catch_up = reading({A: BEGINNING}, max_aside=20)
        catch_up.receive(A, [entry(2), entry(3, 2)])
        catch_up.receive(A, [entry(4, 3)])
        assert catch_up.state is State.OVERRUN
        catch_up.receive(A, [entry(5, 4)])
        step = catch_up.take({A: page(1, 2)})
        assert [at(entry).ms for _, entry in step.entries] == [1, 2]
        assert not step.is_last
        catch_up.pause()
        catch_up.read(nowhere)
        assert catch_up.take({A: page(3, 4, 5)}).is_last

    def test_size_begins_at_zero(self) -> None:
        """Entries that were sent or dropped do not count as put aside."""
        catch_up = reading({A: BEGINNING}, max_aside=20)
        for ms in range(10, 20):
            catch_up.receive(A, [entry(ms, ms - 1)])
            assert serve(catch_up) == [ms]
        catch_up.fall_behind()
        catch_up.receive(A, [entry(20, 19), entry(21, 20), entry(22, 21)])
        catch_up.read(nowhere)
        catch_up.receive(A, [entry(23, 22), entry(24, 23)])
        assert serve(catch_up, a=page(20, 21, 22)) == [20, 21, 22, 23, 24]

    def test_overtaken(self) -> None:
        """An entry in no log is also sent if a later entry was read from the log before the first was received."""
        catch_up = reading({A: BEGINNING})
        assert serve(catch_up, a=page(6, complete=False)) == [6]
        catch_up.receive(A, [entry(5, kind=EPHEMERAL), entry(6)])
        assert serve(catch_up, a=page()) == [5]

    def test_before_the_first_read(self) -> None:
        """A connection without a cursor begins with what is received first, even if it is too much to put aside."""
        catch_up = CatchUp({A: None}, max_aside=10)
        catch_up.receive(A, [entry(7, 5), entry(8, 7)])
        assert catch_up.read(nowhere) == {A: Cursor(5, 0)}
        assert serve(catch_up, a=page(7, 8)) == [7, 8]

    def test_before_anything_is_received(self) -> None:
        """If nothing was received, a connection without a cursor begins with the last entry that is known."""
        catch_up = CatchUp({A: None, B: Cursor(3, 0)}, PLENTY)
        assert catch_up.read({A: Cursor(9, 0)}.__getitem__) == {A: Cursor(9, 0), B: Cursor(3, 0)}

    def test_only_its_channels(self) -> None:
        """Entries of another channel are not for this connection."""
        catch_up = reading({A: BEGINNING})
        catch_up.receive(B, [entry(1)])
        assert serve(catch_up) == []


class TestChannels:
    def test_remove(self) -> None:
        """Entries of a removed channel are not sent, and the channel is not named as lost."""
        catch_up = reading({A: BEGINNING, B: BEGINNING})
        catch_up.lose([A, B])
        catch_up.receive(B, [entry(1), entry(2, 1)])
        catch_up.receive(A, [entry(4)])
        catch_up.remove(B)
        catch_up.receive(B, [entry(3, 2)])
        catch_up.read(nowhere)
        step = catch_up.take({})
        assert [(name, at(each).ms) for name, each in step.entries] == [(A, 4)]
        assert step.lost == [A]
        assert catch_up.positions.keys() == {A}

    def test_what_it_has_or_lacks(self) -> None:
        """Adding a channel that was added already, or removing one that was not, changes nothing."""
        catch_up = reading({A: Cursor(5, 0)})
        catch_up.add(A)
        catch_up.remove(B)
        assert catch_up.is_reading
        assert catch_up.positions == {A: Cursor(5, 0)}

    def test_resume(self) -> None:
        """A connection that reconnects is read from before its cursor."""
        catch_up = CatchUp({A: None, B: None}, PLENTY)
        assert not catch_up.is_resumed
        catch_up.resume([A], Cursor(5000, 3), 2000)
        assert catch_up.positions == {A: Cursor(5000, 3).earlier(2000), B: None}
        assert catch_up.is_resumed
        assert [catch_up.since(name) for name in (A, B, C)] == [Cursor(5000, 3), None, None]

    def test_resume_goes_back_only(self) -> None:
        """A channel that goes back is sent from the log once more; a channel that would go forward stays."""
        catch_up = reading({A: BEGINNING, B: BEGINNING})
        assert serve(catch_up, a=page(6), b=page(7)) == [6, 7]
        catch_up.resume([A], Cursor(5, 0))
        catch_up.resume([B], Cursor(8, 0))
        assert catch_up.positions == {A: Cursor(5, 0), B: Cursor(7, 0)}
        catch_up.read(nowhere)
        assert catch_up.take({A: page(), B: page()}).is_last
        assert catch_up.go_live() == {B: Cursor(7, 0)}

    def test_resume_not_before(self) -> None:
        """A member of a topic is sent nothing from before the membership, whatever cursor the client has."""
        catch_up = CatchUp({A: None}, PLENTY)
        catch_up.resume([A], Cursor(5000, 0), 2000, not_before=Cursor(4000, 0))
        assert catch_up.positions == {A: Cursor(4000, 0)}
        catch_up.add(B)
        catch_up.resume([B], Cursor(5000, 0), 2000, not_before=Cursor(1000, 0))
        assert catch_up.positions[B] == Cursor(5000, 0).earlier(2000)

    def test_advance(self) -> None:
        """A connection that falls behind within a write begins after what it took."""
        catch_up = CatchUp({A: Cursor(5, 0)}, PLENTY)
        catch_up.fall_behind()
        catch_up.advance(A, Cursor(6, 0))
        assert catch_up.read(nowhere) == {A: Cursor(6, 0)}


class TestSent:
    def test_never_goes_back(self) -> None:
        """The position is the highest entry that was sent."""
        catch_up = CatchUp({A: None}, PLENTY)
        catch_up.sent([(A, entry(5)), (A, entry(3))])
        assert catch_up.positions == {A: Cursor(5, 0)}

    def test_news(self) -> None:
        """Entries of the overlap do not count as news: the client has them. Losses do."""
        catch_up = CatchUp({A: None}, PLENTY)
        catch_up.resume([A], Cursor(5, 0), 5)
        assert (catch_up.has_sent, catch_up.has_news) == (False, False)
        catch_up.sent([(A, entry(5))])
        assert (catch_up.has_sent, catch_up.has_news) == (True, False)
        catch_up.sent([(A, entry(6))])
        assert (catch_up.has_sent, catch_up.has_news) == (True, True)
        catch_up = reading({A: BEGINNING})
        catch_up.lose([A])
        catch_up.take({})
        assert catch_up.has_news


def test_patience() -> None:
    """After ten reads in a row that ended too early, a connection gets a read of its own; a step begins that again."""
    catch_up = CatchUp({A: Cursor(5, 0)}, PLENTY)
    for _ in range(10):
        assert not catch_up.is_impatient
        catch_up.read(nowhere)
        catch_up.retry()
    assert catch_up.is_impatient
    catch_up.read(nowhere)
    catch_up.take({})
    assert not catch_up.is_impatient


class TestLost:
    @rows(
        ("position", "since", "floor", "lost"),
        [
            (5, None, 0, []),
            (5, None, 4, []),
            (5, None, 5, []),
            (5, None, 6, [A]),
            (3, 5, 3, []),
            (3, 5, 4, [A]),  # in the overlap: the client may be missing it
            (3, 5, 5, [A]),
            (3, 5, 6, [A]),
            (0, 0, 1, [A]),
        ],
    )
    def test_floor(self, position: int, since: int | None, floor: int, lost: list[str]) -> None:
        """Something is lost if it fell out of the log after the position, the overlap included."""
        catch_up = CatchUp({A: Cursor(position, 0) if since is None else None}, PLENTY)
        if since is not None:
            catch_up.resume([A], Cursor(since, 0), since - position)
        catch_up.read(nowhere)
        assert catch_up.take({A: page(floor=floor)}).lost == lost

    def test_once(self) -> None:
        """The same loss is named once, a further one again."""
        catch_up = CatchUp({A: Cursor(1, 0)}, PLENTY)
        named = []
        for floor in (5, 5, 6, 6):
            catch_up.read(nowhere)
            named.append(catch_up.take({A: page(floor=floor)}).lost)
            catch_up.pause()
        assert named == [[A], [], [A], []]

    def test_sent_before_it_fell(self) -> None:
        """An entry that was sent before it was trimmed is not lost."""
        catch_up = reading({A: Cursor(1, 0)})
        assert serve(catch_up, a=page(2, 3, complete=False)) == [2, 3]
        assert catch_up.take({A: page(4, floor=3)}).lost == []

    def test_known(self) -> None:
        """Losses that were known before are named with the first step, once."""
        catch_up = CatchUp({A: None, B: None}, PLENTY)
        catch_up.resume([A, B], BEGINNING, lost=[A])
        catch_up.lose([A])
        for lost in ([A, B], []):
            catch_up.read(nowhere)
            assert catch_up.take({A: page(9, floor=5), B: page(9, floor=6)}).lost == lost
            catch_up.pause()

    def test_none_for_newcomers(self) -> None:
        """A connection without a cursor has lost nothing."""
        world = World([(A, 1), (A, 2)], None, channels=[A])
        world.trim(A)
        world.settle()
        assert not world.promises.named_lost


class TestOwed:
    def test_replies(self) -> None:
        """Replies are kept for the welcome, in order; those of the hello however many, and later ones up to a limit."""
        catch_up = CatchUp({A: None}, PLENTY, deferred=[b"refused"] * 300)
        with pytest.raises(TooSlow):
            catch_up.defer(b"too many")
        assert catch_up.take_deferred() == [b"refused"] * 300
        for _ in range(200):
            catch_up.defer(b"reply")
        with pytest.raises(TooSlow):
            catch_up.defer(b"too many")
        assert catch_up.take_deferred() == [b"reply"] * 200
        assert catch_up.take_deferred() == []

    def test_long_replies(self) -> None:
        """Long replies are kept up to a number of bytes: each may list all topics of the connection."""
        catch_up = CatchUp({A: None}, PLENTY)
        for _ in range(4):
            catch_up.defer(b"x" * 65_536)
        with pytest.raises(TooSlow):
            catch_up.defer(b"x")

    def test_confirmations(self) -> None:
        """Subscriptions are confirmed in order, once, and a limited number waits."""
        catch_up = CatchUp({A: None}, PLENTY)
        for number in range(200):
            catch_up.confirm_later(str(number))
        with pytest.raises(TooSlow):
            catch_up.confirm_later(None)
        assert catch_up.take_confirmations() == [str(number) for number in range(200)]
        assert catch_up.take_confirmations() == []
