"""Rank lists: ranks in ascending order, in the form that Redis stores: eight bytes each, the lowest byte first."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Ranks = Sequence[int]
FORMAT = "Q"  # of arrays
_IS_BIG_ENDIAN = array(FORMAT, [1]).tobytes()[0] == 0  # this machine
_SPARSE = 10  # ranks for each wanted one: to look at all of them would take longer than to search


def pack(ranks: Iterable[int]) -> bytes:
    """Return ascending ranks as bytes."""
    return _in_order(array(FORMAT, ranks)).tobytes()


def unpack(data: bytes) -> "array[int]":
    """Return the ranks in bytes."""
    return _in_order(array(FORMAT, data))


def has(ranks: Ranks, rank: int) -> bool:
    """Return whether a rank is in a list."""
    place = bisect_left(ranks, rank)
    return place < len(ranks) and ranks[place] == rank


def count_among(ranks: Ranks, wanted: Ranks) -> int:
    """Return how many of some ranks, of which several may be equal, are wanted."""
    if not wanted:
        return 0
    low, high = bisect_left(ranks, wanted[0]), bisect_right(ranks, wanted[-1])
    if high - low > _SPARSE * len(wanted):
        return sum(bisect_right(ranks, rank) - bisect_left(ranks, rank) for rank in wanted)
    return sum(map(frozenset(wanted).__contains__, ranks[low:high]))


def first_difference(one: Ranks, other: Ranks) -> int | None:
    """Return the lowest rank that only one of two lists has; None: they are equal."""
    same, end = 0, min(len(one), len(other))
    while same < end:
        middle = (same + end + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle - 1
    return min((ranks[same] for ranks in (one, other) if same < len(ranks)), default=None)


def _in_order(ranks: "array[int]") -> "array[int]":
    if _IS_BIG_ENDIAN:
        ranks.byteswap()
    return ranks
