"""Many cases in one test: each is tried, and each that fails is named."""

from collections.abc import Iterator

import pytest

from tests.kit.cases import every, rows

tried: list[tuple[int, str]] = []


@pytest.fixture
def base() -> Iterator[int]:
    """A fixture of a joined test."""
    tried.clear()
    yield 10
    assert tried == [(11, "a"), (11, "b"), (12, "a"), (12, "b")]


@every(number=[1, 2], letter="ab")
def test_every_combination(base: int, number: int, letter: str) -> None:
    """A test is called with every combination, and with its fixtures."""
    tried.append((base + number, letter))


def test_failures() -> None:
    """All cases that fail are named with their reasons, whichever way they fail, and the others are tried."""
    done = []

    @every(number=range(4))
    def check(number: int) -> None:
        done.append(number)
        assert number != 1, "it is one"
        if number == 2:
            with pytest.raises(ValueError):
                int("2")
        10 // (3 - number)

    with pytest.raises(AssertionError) as caught:
        check()
    text = str(caught.value)
    assert text.startswith("3 of 4 cases fail.")
    assert "number=1: AssertionError: it is one" in text
    assert "number=2: Failed: DID NOT RAISE" in text
    assert "number=3: ZeroDivisionError" in text
    assert "number=0" not in text and done == [0, 1, 2, 3]


def test_nothing_to_try() -> None:
    """A test without cases is a mistake."""
    with pytest.raises(AssertionError, match="nothing to try"):
        every(number=[])


def test_rows() -> None:
    """Each row of a table is tried, under either way to write the names, and combined with those of other tables."""
    tried_rows = []

    @rows("letter", ["a", pytest.param("b", id="the other")])
    @rows("number, word", [(1, "one"), (2, "two")])
    @rows(("first", "last"), [(True, False)])
    def check(letter: str, number: int, word: str, first: bool, last: bool) -> None:
        tried_rows.append((letter, number, word, first, last))
        assert (letter, number) != ("b", 2)

    with pytest.raises(AssertionError, match="1 of 2 cases fail"):
        check()
    assert tried_rows == [
        (letter, number, word, True, False) for letter in "ab" for number, word in ((1, "one"), (2, "two"))
    ]
