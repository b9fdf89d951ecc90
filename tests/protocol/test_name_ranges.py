"""Ranges of names: exactly those that patterns grant, in order, with nothing twice."""

import itertools
import random

from notifier.protocol import channel, name_ranges
from tests.kit.cases import rows


@rows("seed", range(50))
def test_same_as_grants(seed: int) -> None:
    """The names within the bounds are those that the patterns grant, in their order, after every name."""
    chance = random.Random(seed)
    names = sorted("".join(word) for length in (1, 2, 3) for word in itertools.product("aé*~\U0001f600", repeat=length))
    patterns = tuple(chance.choice(names) + chance.choice(("", "*")) for _ in range(chance.randrange(6)))
    granted = [name for name in names if channel.grants(patterns, name)]
    for after in ("", *chance.sample(names, 20)):
        ranges = name_ranges.bounds_of(patterns, after)
        found = [name for bounds in ranges for name in names if _is_within(name, *bounds)]
        assert found == [name for name in granted if name > after]


def test_all() -> None:
    """All names are one range, also beside other patterns."""
    assert list(name_ranges.bounds_of(("b", "*", "a*"), "")) == [("[", b"(\xff")]
    assert list(name_ranges.bounds_of(("b", "*", "a*"), "b")) == [("(b", b"(\xff")]
    assert list(name_ranges.bounds_of((), "")) == []


def _is_within(name: str, first: str, last: bytes) -> bool:
    """Return whether a name lies within bounds, as ZRANGEBYLEX reads them."""
    text, lower, upper = name.encode(), first[1:].encode(), last[1:]
    return (text > lower or (first[0] == "[" and text == lower)) and (
        text < upper or (last[:1] == b"[" and text == upper)
    )
