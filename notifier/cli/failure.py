"""Failures of commands: one sentence on stderr, and an exit code for scripts."""

import sys
from typing import IO, Any

import click

from notifier.cli.terminal import printable
from notifier.client.errors import ConfigurationError, NotifierError, NotNotifier, Unreachable, VersionError

FAILED, USAGE, UNREACHABLE, REFUSED, FOREIGN, FILE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130
# Top-level modules of the libraries that only the service needs: the extra `server` of the distribution.
SERVER_MODULES = (
    "cryptography",
    "flask",
    "flask_sock",
    "gevent",
    "gunicorn",
    "hiredis",
    "prometheus_client",
    "redis",
    "simple_websocket",
    "werkzeug",
    "wsproto",
)
# Error texts of commands. They replace the client's, whose arguments have other names than the options.
_MISSING = {
    "api_key": "An API key is needed: give --api-key, or set NOTIFIER_API_KEY.",
    "token": "A user's token is needed: give --token, or set NOTIFIER_TOKEN. `notifier token` makes one.",
    "url": "The URL of the service is needed: give --url, or set NOTIFIER_URL.",
}


class Failure(click.ClickException):
    """Ends the command with an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, and reads it from the object

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message."""
        say(self.message)


def say(text: str) -> None:
    """Print a message to stderr; a part of it may come from the service."""
    click.echo(printable(f"notifier: {text}"), file=sys.stderr)


def failure_of(error: NotifierError, more: str = "") -> Failure:
    """Return the failure for an error of the client; `more` is a sentence."""
    code, text = REFUSED, str(error)
    if isinstance(error, ConfigurationError):
        code, text = USAGE, _MISSING.get(error.missing, text)
    elif isinstance(error, Unreachable):
        code = UNREACHABLE
    elif isinstance(error, NotNotifier | VersionError):
        code = FOREIGN
    return Failure(f"{text} {more}".rstrip(), code)


def file_failure(name: str, error: OSError, more: str = "") -> Failure:
    """Return the failure for a file that cannot be read or written; `more` is a sentence."""
    return Failure(f"{name}: {error.strerror or error}. {more}".rstrip(), FILE)


def no_server(missing: str) -> Failure:
    """Return the failure of a command that needs a library of the service; `missing` is its module."""
    text = f"The service is not installed, only its client: {missing} is missing."
    return Failure(f'{text} Install it with: pip install "notifierd[server]"', FAILED)
