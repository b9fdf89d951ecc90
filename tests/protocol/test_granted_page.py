"""Pages of what a key grants: none is missing, and as few are read as need be."""

import itertools
from collections.abc import Callable, Iterator

from notifier.protocol.granted_page import granted
from tests.kit.cases import rows

NAMES = [f"{letter}{number:02}" for letter in "abc" for number in range(20)]
MOST_READ = 7


@rows("most", [1, 2, 19, 20, 21, 60, 100])
@rows("letters", ["abc", "b", "c", "ac", ""])
def test_pages(most: int, letters: str) -> None:
    """Page after page, everything that is granted is returned once, in order."""
    found: list[str] = []
    after = ""
    while page := list(itertools.islice(_granted(_read, letters, after, most), most)):
        assert len(page) <= most
        found += page
        after = page[-1]
    assert found == [name for name in NAMES if name[0] in letters]


def test_reads() -> None:
    """Where everything is granted, no more is read than fits; afterwards many are read at a time."""
    sizes = []

    def read(after: str, size: int) -> list[str]:
        sizes.append(size)
        return _read(after, size)

    for letters in ("abc", "c"):
        list(itertools.islice(_granted(read, letters, "", 5), 5))
    assert sizes == [5, 5, *[MOST_READ] * 6]


def _granted(read: Callable[[str, int], list[str]], letters: str, after: str, first: int) -> Iterator[str]:
    return granted(read, str, lambda read: [name for name in read if name[0] in letters], after, first, MOST_READ)


def _read(after: str, size: int) -> list[str]:
    return [name for name in NAMES if name > after][:size]
