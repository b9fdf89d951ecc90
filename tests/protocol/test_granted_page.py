"""Pages of what a key grants: none is missing, and as few are read as need be."""

import pytest

from notifier.protocol import granted_page as module
from notifier.protocol.granted_page import granted_page

NAMES = [f"{letter}{number:02}" for letter in "abc" for number in range(20)]


@pytest.mark.parametrize("most", [1, 2, 19, 20, 21, 60, 100])
@pytest.mark.parametrize("granted", ["abc", "b", "c", "ac", ""])
def test_pages(most: int, granted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, everything that is granted is returned once, in order."""
    monkeypatch.setattr(module, "MOST_READ", 7)
    found: list[str] = []
    after = ""
    while page := granted_page(_read, str, lambda name: name[0] in granted, after, most):
        assert len(page) <= most
        found += page
        after = page[-1]
    assert found == [name for name in NAMES if name[0] in granted]


def test_reads() -> None:
    """Where everything is granted, no more is read than fits; afterwards many are read at a time."""
    sizes = []

    def read(after: str, size: int) -> list[str]:
        sizes.append(size)
        return _read(after, size)

    granted_page(read, str, lambda _: True, "", 5)
    granted_page(read, str, lambda name: name[0] == "c", "", 5)
    assert sizes == [5, 5, module.MOST_READ]


def _read(after: str, size: int) -> list[str]:
    return [name for name in NAMES if name > after][:size]
