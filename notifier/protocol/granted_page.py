"""A page of what a key grants, out of a list that has more."""

from collections.abc import Callable
from typing import TypeVar

Each = TypeVar("Each")

MOST_READ = 1000  # elements at a time


def granted_page(
    read: Callable[[str, int], list[Each]],
    name_of: Callable[[Each], str],
    is_granted: Callable[[Each], bool],
    after: str,
    most: int,
) -> list[Each]:
    """Return up to `most` granted elements whose names come after `after`, in the order of the list.

    `read` returns up to a number of elements after a name; fewer are the last ones.
    """
    granted: list[Each] = []
    size = most
    while len(granted) < most:
        found = read(after, size)
        granted += filter(is_granted, found)
        if len(found) < size:
            break
        after, size = name_of(found[-1]), MOST_READ
    return granted[:most]
