"""Ended keys: what is remembered of them, and what is forgotten first."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.ended_keys import EndedKeys


def test_times() -> None:
    """A key is remembered until its time is over, and a revoked one is known as such."""
    ended = EndedKeys()
    ended.add("a", "acme", 1000, is_revoked=True)
    ended.add("b", "acme", 2000, is_revoked=False)
    assert [(id in ended, ended.is_revoked(id)) for id in "abc"] == [(True, True), (True, False), (False, False)]
    ended.sweep(1001)
    assert "a" not in ended and "b" in ended
    ended.forget("b")
    ended.forget("b")
    assert len(ended) == 0 and not ended._groups


def test_again() -> None:
    """A key that is noted twice is one key."""
    ended = EndedKeys(2)
    for until in (1, 2, 3):
        ended.add("a", "acme", until, is_revoked=False)
    ended.add("a", "beta", 3, is_revoked=True)
    assert len(ended) == 1 and ended.is_revoked("a")
    assert list(ended._groups) == ["beta"]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("xyz")), max_size=60))
def test_room(steps: list[tuple[int, str]]) -> None:
    """However many keys others have, a group keeps its share of the room."""
    ended = EndedKeys(9)
    for id, group in steps:
        ended.add(f"{group}{id}", group, 1, is_revoked=True)
    assert len(ended) <= 9
    for group in "xyz":
        distinct = len({id for id, of in steps if of == group})
        assert len(ended._groups.get(group, ())) >= min(distinct, 3)
    assert sum(map(len, ended._groups.values())) == len(ended)


def test_flood() -> None:
    """A tenant that creates and revokes keys forgets its own only."""
    ended = EndedKeys(10)
    for number in range(4):
        ended.add(f"key-{number}", "acme", 1, is_revoked=True)
    for number in range(1000):
        ended.add(f"flood-{number}", "beta", 1, is_revoked=True)
    assert all(ended.is_revoked(f"key-{number}") for number in range(4))
    assert list(ended._groups["beta"]) == [f"flood-{number}" for number in range(994, 1000)]
