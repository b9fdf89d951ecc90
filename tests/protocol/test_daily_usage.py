"""Quotas of a day: what is left, on one worker and with others."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.daily_usage import Amounts, DailyUsage

MOST = Amounts(publications=3, bytes=100)


def test_exceeds() -> None:
    """The first quota that has too little left is named; where there is no quota, nothing is exceeded."""
    usage = DailyUsage(0.0)
    assert usage.exceeds(MOST, 0.0, Amounts(4, 9, 9, 101)) == "publications"
    assert usage.exceeds(MOST, 0.0, Amounts(3, 9, 9, 101)) == "bytes"
    assert usage.exceeds(MOST, 0.0, Amounts(3, 9**9, 9**9, 100)) == ""
    usage.add(0.0, Amounts(2, 1, 0, 50))
    assert usage.exceeds(MOST, 0.0, Amounts(2, 1, 0, 0)) == "publications"
    assert usage.exceeds(MOST, 0.0, Amounts(1, 1, 0, 50)) == ""
    assert (usage.left(MOST, 0.0, "publications"), usage.left(MOST, 0.0, "bytes")) == (1, 50)


def test_a_used_quota_does_not_stop_others() -> None:
    """A publication that needs nothing of an exhausted quota is not stopped."""
    usage = DailyUsage(0.0)
    usage.add(0.0, Amounts(topics=5))
    assert usage.exceeds(Amounts(topics=5), 0.0, Amounts(1, 1, 0, 10)) == ""
    assert usage.exceeds(Amounts(topics=5), 0.0, Amounts(1, 1, 1, 10)) == "topics"


def test_the_next_day() -> None:
    """Everything is left again when the day ends, also before the next settlement."""
    usage = DailyUsage(0.0)
    usage.add(0.0, Amounts(3))
    assert usage.begin_settlement() == Amounts(3)
    assert usage.exceeds(MOST, 0.0, Amounts(1))  # also while it is being settled
    usage.settle(Amounts(3), ends=50.0)
    assert usage.exceeds(MOST, 49.0, Amounts(1)) and usage.wait(49.0) == 1.0 and usage.wait(20.0) == 30.0
    assert not usage.exceeds(MOST, 50.0, Amounts(1))
    assert not usage.is_known


@given(st.lists(st.tuples(st.sampled_from(["use", "begin", "end", "fail"]), st.integers(0, 1)), max_size=100))
def test_two_workers(story: list[tuple[str, int]]) -> None:
    """In every order nothing that was used is forgotten, and nothing counts twice."""
    total, usages, under_way = Amounts(), [DailyUsage(0.0), DailyUsage(0.0)], [Amounts(), Amounts()]
    used = 0
    for happening, number in story:
        usage = usages[number]
        match happening:
            case "use":
                usage.add(0.0, Amounts(1))
                used += 1
            case "begin" if under_way[number] == Amounts():
                under_way[number] = usage.begin_settlement()
            case "end":
                total, under_way[number] = total.plus(under_way[number]), Amounts()
                usage.settle(total, 100.0)
            case "fail":
                usage.fail()
                under_way[number] = Amounts()
        known = [each.publications for each in under_way] + [each.unsettled.publications for each in usages]
        assert total.publications + sum(known) == used
        assert all(1000 - each.left(Amounts(1000), 0.0, "publications") <= used for each in usages)
