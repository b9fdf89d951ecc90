"""Every order in which some things can happen."""

import io
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import Entry

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
    store = _Store()
    states: dict[tuple[tuple[int, ...], bytes], tuple[Action, ...]] = {(begin, store.dump(world)): ()}
    for _ in range(sum(map(len, threads))):
        following: dict[tuple[tuple[int, ...], bytes], tuple[Action, ...]] = {}
        for (places, state), history in states.items():
            for index, action in _next_actions(places, threads):
                world = store.load(state)
                with explained(*history, action):
                    do(world, action)
                moved = (*places[:index], places[index] + 1, *places[index + 1 :])
                following.setdefault((moved, store.dump(world)), (*history, action))
        states = following
    for (_, state), history in states.items():
        world = store.load(state)
        with explained(*history):
            world.settle()
        yield world


class _Store:
    """Worlds as bytes. Entries and cursors never change, so equal ones are stored once, and all worlds share them."""

    def __init__(self) -> None:
        self._numbers: dict[Entry | Cursor, int] = {}
        self._shared: list[Entry | Cursor] = []

    def dump(self, world: Any) -> bytes:
        """Return the bytes of a world."""
        data = io.BytesIO()
        pickler = pickle.Pickler(data)
        pickler.persistent_id = self._number  # type: ignore[method-assign, assignment]
        pickler.dump(world)
        return data.getvalue()

    def load(self, data: bytes) -> Any:
        """Return another world that is the same."""
        unpickler = pickle.Unpickler(io.BytesIO(data))
        unpickler.persistent_load = self._shared.__getitem__  # type: ignore[method-assign, assignment]
        return unpickler.load()

    def _number(self, part: Any) -> int | None:
        if type(part) is not Entry and type(part) is not Cursor:
            return None
        if part not in self._numbers:
            self._numbers[part] = len(self._shared)
            self._shared.append(part)
        return self._numbers[part]


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
