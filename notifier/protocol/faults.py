"""The faults of a body. They are collected up to a limit: nobody reads more, and looking for them takes time."""

from notifier.errors.problem import Fault, Problem

MOST_FAULTS = 50
_CUT = f"Only the first {MOST_FAULTS} errors are listed."


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class Faults:
    """The faults of one body, which is then rejected with a problem of this kind."""

    __slots__ = ("_found", "kind")

    def __init__(self, kind: type[Problem]) -> None:
        self.kind = kind
        self._found: list[Fault] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_full(self) -> bool:
        """Whether further faults are not listed, so that readers can stop."""
        return len(self._found) >= MOST_FAULTS

    def add(self, pointer: str, code: str, detail: str) -> None:
        """Add the fault of the value at an RFC 6901 JSON pointer."""
        if not self.is_full:
            self._found.append(Fault(pointer, code, detail))

    def check(self) -> None:
        """Reject the body if it has faults.

        Raises:
            Problem
        """
        if self._found:
            raise self.kind(_CUT if self.is_full else "", faults=self._found)
