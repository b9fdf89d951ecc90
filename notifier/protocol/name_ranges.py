"""Ranges of names: where in a sorted list the names are that some patterns grant, so that no others are read."""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple


class NameRange(NamedTuple):
    """The name `begin`, or with `is_prefix` all names that begin so."""

    begin: str
    is_prefix: bool

    def bounds(self, after: str) -> tuple[str, bytes] | None:
        """Return the first and last bound as ZRANGEBYLEX reads them, of the names after `after`; None: there are none.

        Names are sorted by their bytes in UTF-8, in which no name has the byte 255.
        """
        is_within = self.is_prefix and after.startswith(self.begin)
        if after >= self.begin and not is_within:
            return None
        lower = f"({after}" if is_within and after else f"[{self.begin}"
        return lower, b"(%b\xff" % self.begin.encode() if self.is_prefix else b"[" + self.begin.encode()


def bounds_of(patterns: tuple[str, ...], after: str) -> Iterator[tuple[str, bytes]]:
    """Yield the bounds of all names after `after` that patterns grant, in the order of the names, each name once."""
    found = (each.bounds(after) for each in _ranges(patterns))
    return (bounds for bounds in found if bounds is not None)


@functools.lru_cache(maxsize=1024)
def _ranges(patterns: tuple[str, ...]) -> tuple[NameRange, ...]:
    """Return the ranges of patterns in their order, without those that lie within another one."""
    ranges = (NameRange(pattern.removesuffix("*"), pattern.endswith("*")) for pattern in patterns)
    found: list[NameRange] = []
    for begin, group in itertools.groupby(sorted(ranges), key=lambda each: each.begin):
        if not (found and found[-1].is_prefix and begin.startswith(found[-1].begin)):
            found.append(NameRange(begin, any(each.is_prefix for each in group)))
    return tuple(found)
