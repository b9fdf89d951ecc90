"""Every order in which some things can happen."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

World = TypeVar("World", bound="Settling")
Action = tuple[Any, ...]  # the name of a method of the world, and its arguments


class Settling(Protocol):
    """A world that can come to its end, and checks itself."""

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
    states: dict[tuple[tuple[int, ...], bytes], tuple[Action, ...]] = {(begin, pickle.dumps(world)): ()}
    for _ in range(sum(map(len, threads))):
        following: dict[tuple[tuple[int, ...], bytes], tuple[Action, ...]] = {}
        for (places, state), history in states.items():
            for index, action in _next_actions(places, threads):
                world = pickle.loads(state)
                with explained(*history, action):
                    do(world, action)
                moved = (*places[:index], places[index] + 1, *places[index + 1 :])
                following.setdefault((moved, pickle.dumps(world)), (*history, action))
        states = following
    for (_, state), history in states.items():
        world = pickle.loads(state)
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
