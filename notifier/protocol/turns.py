"""Turns: how rules without threads let others go first. They yield items through a function that they are given.

It yields the same items, and may give other threads their turn after any of them: what is shared may change then.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Turns = Callable[[Iterable[Any]], Iterator[Any]]
