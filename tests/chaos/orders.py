"""All orders of some requests and their answers, and what may have happened in between."""

import itertools
from collections.abc import Sequence

Times = dict[str, tuple[int, int]]  # of each request: when it was sent, and when it was answered


def orders(lane: Sequence[str], other: str) -> list[Times]:
    """Return the times of requests that come one after the other, and of another one beside them, in every order."""
    last = 2 * len(lane) + 2
    found = []
    for own in itertools.combinations(range(1, last + 1), 2):
        rest = [at for at in range(1, last + 1) if at not in own]
        times = {name: (rest[2 * number], rest[2 * number + 1]) for number, name in enumerate(lane)}
        found.append(times | {other: own})
    return found


def possible(times: Times, order: Sequence[str]) -> bool:
    """Return whether the effects of requests may have come in this order, each between its request and answer."""
    return all(times[first][0] < times[second][1] for first, second in itertools.combinations(order, 2))
