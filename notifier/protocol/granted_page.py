"""What a key grants, out of a list that has more, so that it can be shown page by page."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Each = TypeVar("Each")


def granted(
    read: Callable[[str, int], list[Each]],
    name_of: Callable[[Each], str],
    granted_of: Callable[[list[Each]], Iterable[Each]],
    after: str,
    first: int,
    most_read: int,
) -> Iterator[Each]:
    """Yield the granted elements whose names come after `after`, in the order of the list.

    `read` returns up to a number of elements after a name; fewer are the last ones. That is `first`, where as many are
    needed, and `most_read` after that. `granted_of` returns those that are granted.
    """
    size = min(first, most_read)
    while True:
        found = read(after, size)
        yield from granted_of(found)
        if len(found) < size:
            return
        after, size = name_of(found[-1]), most_read
