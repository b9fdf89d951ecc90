"""A timer wheel: one list of due items per second, instead of a timer per connection."""

from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wheel(Generic[Item]):
    """Holds items until they are due. `now` and `due` are in seconds.

    An item that is due beyond the last slot is returned early; its owner compares its own deadline and adds it again.
    An item is never late by more than a second, and items are never removed.
    """

    def __init__(self, now: float, slots: int = 64) -> None:
        self._slots: list[list[Item]] = [[] for _ in range(slots)]
        self._turned = int(now)

    def add(self, item: Item, due: float) -> None:
        """Add an item that `turn` returns at `due`, or at the next turn if `due` is past."""
        second = min(max(int(due) + 1, self._turned + 1), self._turned + len(self._slots) - 1)
        self._slots[second % len(self._slots)].append(item)

    def turn(self, now: float) -> list[Item]:
        """Return the items that are due since the last turn."""
        due: list[Item] = []
        # After a jump of the clock backwards, waiting items are due within one revolution.
        self._turned = min(self._turned, int(now))
        # After a jump forwards, every slot is due once.
        for second in range(max(self._turned + 1, int(now) - len(self._slots) + 1), int(now) + 1):
            slot = second % len(self._slots)
            due += self._slots[slot]
            self._slots[slot] = []
        self._turned = max(self._turned, int(now))
        return due
