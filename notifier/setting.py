"""One setting: a field of a dataclass, with its unit, what it is for, and how its text is read."""

from collections.abc import Callable
from dataclasses import field
from typing import Any


def setting(default: Any, unit: str, help: str, read: Callable[[str], Any] = str, least: float | None = None) -> Any:
    """Return a field. `read` makes the value of its text; a number is at least `least`."""
    return field(default=default, metadata={"unit": unit, "help": help, "read": read, "least": least})
