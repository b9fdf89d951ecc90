"""Worlds are copied, and known again, with all their parts."""

from collections import deque
from collections.abc import Iterator
from enum import Enum
from random import Random, randrange
from typing import Any

from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import Entry
from tests.protocol.orders import do, explained
from tests.protocol.test_catch_up_interleavings import any_action, any_world

WORLDS = 100


def containers(part: Any, met: set[int]) -> Iterator[Any]:
    """Yield all that can be emptied in a part, by whatever names it is reached."""
    if id(part) in met or isinstance(part, (Entry, Cursor, Enum)):
        return
    met.add(id(part))
    held = part
    if isinstance(part, dict):
        held = part.values()
    elif not isinstance(part, (list, tuple, deque, set)):
        names = [*getattr(part, "__slots__", ()), *getattr(part, "__dict__", ())]
        held = [getattr(part, name) for name in names]
    for each in held:
        yield from containers(each, met)
    if part and isinstance(part, (dict, list, deque, set)):
        yield part


def fill(part: Any, held: Any) -> None:
    """Put back what a part had."""
    part.update(held) if isinstance(part, (dict, set)) else part.extend(held)


def test_every_part() -> None:
    """Whatever is taken out of a world, it is in another state, and copies of it are not, but for lists in tuples."""
    for _ in range(WORLDS):
        seed = randrange(10**9)
        random = Random(seed)
        world, actions = any_world(random), [any_action(random) for _ in range(random.randint(0, 40))]
        with explained(seed, actions):
            for action in actions:
                do(world, action)
            copied, state = world.copy(), world.state
            assert copied.state == state
            unchanging = [*[entries for _, entries in world._groups], *world._chosen.values()]
            unchanging += [page.entries for page in world._pages.values()]
            for part in list(containers(world, set())):
                held = part.copy()
                part.clear()
                assert world.state != state, f"{held} is no part of the state"
                assert copied.state == state or any(part is each for each in unchanging), f"{held} is shared"
                fill(part, held)
                assert world.state == copied.state == state


def test_same_future() -> None:
    """A world and its copy stay in the same state if the same happens to both."""
    for _ in range(WORLDS):
        seed = randrange(10**9)
        random = Random(seed)
        world, actions = any_world(random), [any_action(random) for _ in range(20)]
        copied = world.copy()
        with explained(seed, actions):
            for action in actions:
                do(world, action)
                do(copied, action)
                assert world.state == copied.state
