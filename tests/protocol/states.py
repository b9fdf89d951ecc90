"""Copies of the parts of a world, and values by which equal parts are known: many times as fast as `pickle`."""

from collections import deque
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from notifier.protocol.catch_up import CatchUp
from notifier.protocol.entry import Page
from notifier.protocol.log_position import LogPosition
from notifier.protocol.place import Place
from notifier.protocol.recent import Recent, _Run

T = TypeVar("T")


class Held(NamedTuple):
    """How what an attribute holds is copied, and made a value that can be compared."""

    copy: Callable[[Any], Any]
    value: Callable[[Any], Any]


class Kind(Generic[T]):
    """A class, and those of its attributes that hold what can change. Others have numbers, text, entries or None."""

    def __init__(self, kind: type[T], names: Iterable[str] = (), **attributes: Held) -> None:
        self._kind = kind
        self._names = tuple(names) or tuple(kind.__slots__)  # type: ignore[attr-defined]
        self._has_slots = not names
        self._values_of = attrgetter(*self._names)
        self._held = [(self._names.index(name), *held) for name, held in attributes.items()]

    def copy(self, part: T) -> T:
        """Return another one that is the same."""
        values = [*self._values_of(part)]
        for index, copy, _ in self._held:
            if values[index] is not None:
                values[index] = copy(values[index])
        copied = self._kind.__new__(self._kind)
        if self._has_slots:
            for name, value in zip(self._names, values, strict=True):
                setattr(copied, name, value)
        else:
            copied.__dict__ = dict(zip(self._names, values, strict=True))
        return copied

    def value(self, part: T) -> tuple[Any, ...]:
        """Return what is equal for equal ones. What an attribute that is not named here has is compared as it is."""
        values = [*self._values_of(part)]
        for index, _, value_of in self._held:
            if values[index] is not None:
                values[index] = value_of(values[index])
        return tuple(values)

    @property
    def held(self) -> Held:
        """One of this kind."""
        return Held(self.copy, self.value)

    @property
    def by_name(self) -> Held:
        """A dict of some of this kind."""
        copy, value = self.copy, self.value
        return Held(
            lambda parts: {name: copy(part) for name, part in parts.items()},
            lambda parts: (*parts, *map(value, parts.values())),
        )


def _pages(pages: dict[str, Page]) -> tuple[Any, ...]:
    return *pages, *[(tuple(page.entries), *page[1:]) for page in pages.values()]


SEQUENCE = Held(lambda held: held.copy(), tuple)
SET = Held(set.copy, frozenset)
MAPPING = Held(dict.copy, lambda held: (*held, *held.values()))
LISTS = Held(dict.copy, lambda held: (*held, *map(tuple, held.values())))  # nothing changes these lists
GROUPS = Held(list.copy, lambda held: tuple([(name, *entries) for name, entries in held]))  # nor these
PAGES = Held(dict.copy, _pages)  # nor those of pages
ELSEWHERE = Held(lambda held: held, lambda held: None)  # a part of the world that has it, too

PLACES = Kind(LogPosition, _ahead=MAPPING, _passed=MAPPING).by_name
CATCH_UP = Kind(
    CatchUp, _places=Kind(Place).by_name, _aside=SEQUENCE, _lost=MAPPING, _deferred=SEQUENCE, _confirmations=SEQUENCE
).held

_RUN = Kind(_Run, entries=SEQUENCE)


def _copy_recent(recent: Recent) -> Recent:
    runs: dict[int, _Run] = {}

    def copied(run: _Run) -> _Run:
        return runs.get(id(run)) or runs.setdefault(id(run), _RUN.copy(run))

    new = Recent(recent._limit)
    new._size = recent._size
    new._runs = {name: copied(run) for name, run in recent._runs.items()}
    new._order = deque([(name, copied(run), entry) for name, run, entry in recent._order])
    return new


def _value_of_recent(recent: Recent) -> tuple[Any, ...]:
    numbers: dict[int, int] = {}
    order = [
        (name, numbers.setdefault(id(run), len(numbers)), entry, _RUN.value(run)) for name, run, entry in recent._order
    ]
    runs = [(name, numbers.get(id(run)), _RUN.value(run)) for name, run in recent._runs.items()]
    return recent._limit, recent._size, tuple(order), tuple(runs)


RECENT = Held(_copy_recent, _value_of_recent)
