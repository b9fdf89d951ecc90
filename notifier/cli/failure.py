"""How a command ends, when it does not end well: one sentence on stderr, and an exit code that scripts can tell."""

import sys
from typing import IO, Any

import click

from notifier.client import NotifierError, NotNotifier, Unreachable, VersionError
from notifier.client.errors import ConfigurationError

FAILED, USAGE, UNREACHABLE, REFUSED, FOREIGN, FILE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130


class Failure(click.ClickException):
    """The command ends, with this exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click has it as the class's, and reads the object's

    def show(self, file: IO[Any] | None = None) -> None:
        """Say why."""
        say(self.message)


def say(text: str) -> None:
    """Tell a person something."""
    click.echo(f"notifier: {text}", file=sys.stderr)


def failure_of(error: NotifierError, more: str = "") -> Failure:
    """Return how a command ends that met an error of the client; `more` is a sentence."""
    code = REFUSED
    if isinstance(error, ConfigurationError):
        code = USAGE
    elif isinstance(error, Unreachable):
        code = UNREACHABLE
    elif isinstance(error, NotNotifier | VersionError):
        code = FOREIGN
    return Failure(f"{error} {more}".rstrip(), code)


def file_failure(name: str, error: OSError, more: str = "") -> Failure:
    """Return how a command ends that could not read or write a file."""
    return Failure(f"{name}: {error.strerror or error}. {more}".rstrip(), FILE)
