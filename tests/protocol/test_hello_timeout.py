"""The hello timeout."""

import itertools

import pytest

from notifier.protocol.hello_timeout import hello_timeout


@pytest.mark.parametrize(
    ("free", "seconds"), [(100, 10), (51, 10), (50, 10), (25, 6.25), (10, 4), (1, 2.65), (0, 2.5), (-5, 2.5)]
)
def test_free_places(free: int, seconds: float) -> None:
    """The timeout is the longest while half of the places are free, and then falls to a quarter."""
    assert hello_timeout(10, free, 100) == pytest.approx(seconds)


@pytest.mark.parametrize("places", [1, 2, 3, 160, 5000])
def test_fewer_places(places: int) -> None:
    """The fewer places are free, the shorter is the timeout, by any number of places, and never too short."""
    timeouts = [hello_timeout(10, free, places) for free in range(places + 1)]
    assert all(shorter <= longer for shorter, longer in itertools.pairwise(timeouts))
    assert timeouts[0] == 2.5 and timeouts[-1] == 10
