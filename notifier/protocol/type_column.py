"""The column of a digest's types: a number for each item, and where the items of a type are."""

from array import array
from collections.abc import Mapping, Sequence

from notifier.protocol.turns import Turns

_SPARE = 50  # names that no item has any more: to number the others again costs as much
_PIECE = 500  # items that are looked at without a turn for others


class TypeColumn:
    """The types of items, in the order of the items. `len` is their number."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._names: list[str] = []
        self._by_name: dict[str, int] = {}
        self._ranks: dict[str, array[int]] | None = None  # by type; made when a user who has muted a type asks
        self._removals = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> str:
        return self._names[self._numbers[place]]

    def append(self, type: str, rank: int) -> None:
        """Add the type of an item after all others."""
        number = self._by_name.get(type)
        if number is None:
            if len(self._names) > 2 * len(self) + _SPARE:
                self._forget_names()
            number = self._by_name[type] = len(self._names)
            self._names.append(type)
        self._numbers.append(number)
        if self._ranks is not None:
            self._ranks.setdefault(type, array("Q")).append(rank)

    def remove(self, places: range) -> None:
        """Remove the types of the items at these places."""
        self._removals += 1
        del self._numbers[places.start : places.stop]
        self._ranks = None

    def ranks(self, ranks: Sequence[int], turns: Turns = iter) -> Mapping[str, Sequence[int]]:
        """Return the ranks of the items of each type, in order. `ranks` are those of all items."""
        for each in (turns, turns, iter):  # the last one gives no turn, so that nothing changes meanwhile
            if self._ranks is not None:
                break
            before = self._removals, len(self)
            found = self._collect(ranks, each)
            if before == (self._removals, len(self)):  # else the places are others now
                self._ranks = found
        return self._ranks or {}

    def _collect(self, ranks: Sequence[int], turns: Turns) -> dict[str, "array[int]"]:
        found: dict[int, array[int]] = {}
        for start in turns(range(0, len(self), _PIECE)):
            end = start + _PIECE
            for number, rank in zip(self._numbers[start:end], ranks[start:end], strict=True):
                found.setdefault(number, array("Q")).append(rank)
        return {self._names[number]: ranks for number, ranks in found.items()}

    def _forget_names(self) -> None:
        """Number the types again that items still have."""
        names = [self._names[number] for number in self._numbers]
        self._names = list(dict.fromkeys(names))
        self._by_name = {name: number for number, name in enumerate(self._names)}
        self._numbers = array("I", [self._by_name[name] for name in names])
