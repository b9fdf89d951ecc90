"""Every order in which some things can happen."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar

World = TypeVar("World", bound="Settling")
Action = tuple[Any, ...]  # the name of a method of the world, and its arguments


class Settling(Protocol):
    """A world that can be copied, comes to its end, and checks itself."""

    @property
    def state(self) -> Hashable:
        """All that decides what happens next."""

    def copy(self) -> Self:
        """Return another world in the same state."""

    def settle(self) -> None:
        """Run until nothing is left to do."""


def do(world: Any, action: Action) -> None:
    """Do one thing."""
    name, *arguments = action
    getattr(world, name)(*arguments)


def outcomes(world: World, *threads: Sequence[Action]) -> Iterator[World]:
    """Yield how the world ends after every order of all actions that keeps the order within each thread.

    Orders that lead to the same state are followed once: what happens next depends on nothing else.
    """
    begin = (0,) * len(threads)
    states: dict[tuple[Any, ...], tuple[World, tuple[Action, ...]]] = {(begin, world.state): (world.copy(), ())}
    for _ in range(sum(map(len, threads))):
        following: dict[tuple[Any, ...], tuple[World, tuple[Action, ...]]] = {}
        for (places, _), (origin, history) in states.items():
            *others, last = _next_actions(places, threads)
            for index, action in (*others, last):
                world = origin if index == last[0] else origin.copy()
                with explained(*history, action):
                    do(world, action)
                moved = (*places[:index], places[index] + 1, *places[index + 1 :])
                following.setdefault((moved, world.state), (world, (*history, action)))
        states = following
    for world, history in states.values():
        with explained(*history):
            world.settle()
        yield world


def _next_actions(places: tuple[int, ...], threads: Sequence[Sequence[Action]]) -> Iterator[tuple[int, Action]]:
    for index, (place, thread) in enumerate(zip(places, threads, strict=True)):
        if place < len(thread):
            yield index, thread[place]


@contextmanager
def explained(*history: object) -> Iterator[None]:
    """Add to an exception what happened before it."""
    try:
        yield
    except Exception as error:
        error.add_note(f"after {history}")
        raise
