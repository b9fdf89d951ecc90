"""Rank lists: packed, searched and compared."""

import struct
from array import array
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import rank_list

RANKS = st.frozensets(st.integers(0, 20) | st.integers(0, 2**53)).map(sorted)


@given(RANKS)
def test_form(ranks: list[int]) -> None:
    """A rank takes eight bytes, the lowest first."""
    data = rank_list.pack(ranks)
    assert data == struct.pack(f"<{len(ranks)}Q", *ranks)
    assert list(rank_list.unpack(data)) == ranks


@given(RANKS, st.integers(0, 20))
def test_has(ranks: list[int], rank: int) -> None:
    """A rank is found wherever it is."""
    assert rank_list.has(ranks, rank) is (rank in ranks)
    assert all(rank_list.has(array("Q", ranks), each) for each in ranks)


@given(RANKS, RANKS)
def test_first_difference(one: list[int], other: list[int]) -> None:
    """The lowest rank is found that only one of two lists has."""
    expected = min(set(one) ^ set(other), default=None)
    for first, second in ((one, other), (other, one)):
        assert rank_list.first_difference(array("Q", first), array("Q", second)) == expected


@given(st.lists(st.integers(0, 60)).map(sorted), RANKS, st.integers(0, 20))
def test_count_among(ranks: list[int], wanted: list[int], sparse: int) -> None:
    """Each of some ranks counts that is wanted, whichever way it is looked for."""
    with mock.patch.object(rank_list, "_SPARSE", sparse):
        assert rank_list.count_among(array("Q", ranks), wanted) == sum(rank in wanted for rank in ranks)
