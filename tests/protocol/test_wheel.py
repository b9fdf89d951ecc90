"""The timer wheel: nothing comes up early within its reach, nothing comes late."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.wheel import Wheel

SLOTS = 8
NOW = 1_763_661_600.5
LATE = 1.0  # seconds that an item may come after its time, on a wheel that is turned often enough
STEP = 0.25


def turn_until(wheel: Wheel[str], now: float, end: float) -> dict[str, float]:
    """Turn in small steps and return when each item came up."""
    times: dict[str, float] = {}
    while now <= end:
        for item in wheel.turn(now):
            assert item not in times, f"{item} came twice"
            times[item] = now
        now += STEP
    return times


@given(st.lists(st.floats(0, SLOTS - 2, width=32), min_size=1))
def test_in_time(delays: list[float]) -> None:
    """Within the reach of the wheel each item comes up once, not before its time and at most a second after it."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    due = {f"item {index}": NOW + delay for index, delay in enumerate(delays)}
    for item, time in due.items():
        wheel.add(item, time)
    times = turn_until(wheel, NOW, NOW + SLOTS)
    assert times.keys() == due.keys()
    for item, time in due.items():
        assert time <= times[item] <= time + LATE + STEP


def test_nothing_is_due() -> None:
    """A wheel that is turned twice within a second gives nothing twice."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    wheel.add("item", NOW)
    assert wheel.turn(NOW) == []
    assert wheel.turn(NOW + 1) == ["item"]
    assert wheel.turn(NOW + 1) == []


def test_past() -> None:
    """An item that was due in the past is returned at the next second."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    wheel.add("item", NOW - 1000)
    assert wheel.turn(NOW + 1) == ["item"]


def test_beyond_the_last_slot() -> None:
    """An item beyond the last slot is returned early, so that its owner can add it again, and is not late then."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    due = NOW + 3 * SLOTS
    wheel.add("item", due)
    times = []
    for second in range(1, 4 * SLOTS):
        for item in wheel.turn(NOW + second):
            times.append(NOW + second)
            if times[-1] < due:
                wheel.add(item, due)
    assert len(times) > 1
    assert due <= times[-1] <= due + LATE


def test_added_while_turning() -> None:
    """An item that is added again when it comes up comes again."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    wheel.add("item", NOW)
    for second in range(1, 4 * SLOTS):
        assert wheel.turn(NOW + second) == ["item"]
        wheel.add("item", NOW + second)


def test_jump_forward() -> None:
    """After a jump of the clock by more than the wheel has slots, everything that was due is returned at once."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    items = [f"item {second}" for second in range(SLOTS - 2)]
    for second, item in enumerate(items):
        wheel.add(item, NOW + second)
    assert sorted(wheel.turn(NOW + 100_000)) == items
    assert wheel.turn(NOW + 100_001) == []


def test_late_turn() -> None:
    """A wheel that was not turned for some seconds returns all items of them, and keeps what is due later."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    wheel.add("soon", NOW + 1)
    wheel.add("later", NOW + 5)
    assert wheel.turn(NOW + 4) == ["soon"]
    assert wheel.turn(NOW + 6) == ["later"]


def test_jump_back() -> None:
    """After the clock was set back, an item that is added with the new time is not late."""
    wheel: Wheel[str] = Wheel(NOW, SLOTS)
    past = NOW - 3600
    assert wheel.turn(past) == []
    wheel.add("item", past + 2)
    assert turn_until(wheel, past, past + 2 + LATE + STEP).keys() == {"item"}
