"""Alterations: changes of the topics or mutes of users."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class Alteration(NamedTuple):
    """A change of a user's `topics` or `mutes`: names to add, with their values, and names to remove.

    With `replace`, all other names are removed. At most `most` names may remain, 0 for any number.
    """

    user: str
    what: str
    add: Mapping[str, str] = {}
    remove: tuple[str, ...] = ()
    replace: bool = False
    most: int = 0


# Carries out alterations, and returns how many names each has added (-1: there would be too many) and removed.
Alter = Callable[[Iterable[Alteration]], list[tuple[int, int]]]
