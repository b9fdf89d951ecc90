"""The progress of a long command, shown on stderr if that is a terminal."""

import os
import stat
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO, Self

import click


class Progress:
    """A progress bar for a file whose size is known; otherwise a count of lines."""

    def __init__(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        self._is_shown = sys.stderr.isatty()
        self._bar: Any = None
        self._lines = 0
        if self._is_shown and stat.S_ISREG(status.st_mode):
            self._bar = click.progressbar(length=status.st_size, label="Sending", file=sys.stderr)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._bar:
            self._bar.__exit__(*raised)
        elif self._is_shown:
            click.echo(file=sys.stderr)

    def advance(self, lines: Iterable[bytes]) -> None:
        """Count lines as done."""
        sizes = [len(line) for line in lines]
        self._lines += len(sizes)
        if self._bar:
            self._bar.update(sum(sizes))
        elif self._is_shown:
            click.echo(f"\r{self._lines:,} {'line' if self._lines == 1 else 'lines'} sent", nl=False, file=sys.stderr)
