"""`notifier listen`: prints the notifications of a user, one per line."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from notifier.cli import files
from notifier.cli.failure import FILE, Failure, say
from notifier.cli.options import deadline_option, json_option, token_option, url_option
from notifier.cli.terminal import printable
from notifier.cli.text import counts_line, json_line, notification_line, state_document
from notifier.client import ConfigurationError, Event, Lost, NotifierClient, Position, Received, Removed, State

_WHAT = "state file"


@click.command(short_help="Print the notifications of a user.")
@click.option("--topic", "topics", multiple=True, help="Subscribe to a topic. May be repeated.")
@click.option("--since", metavar="CURSOR", help="Begin after this cursor.")
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="Store in this file how far it has printed."
)
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many notifications.")
@click.option("--token-command", metavar="COMMAND", help="Command that prints a new token.")
@click.option("--inbox", is_flag=True, help="Also print the counts of the inbox: at the beginning, and on each change.")
@json_option
@url_option
@token_option
@deadline_option
def listen(
    topics: tuple[str, ...],
    since: str | None,
    state: Path | None,
    count: int | None,
    token_command: str | None,
    inbox: bool,
    as_json: bool,
    url: str,
    token: str | None,
    deadline: float,
) -> None:
    """Print the notifications of the user of the token, until it is interrupted.

    It reconnects automatically, and prints what it missed. With --state PATH the next run begins where this one ended:
    after a kill the last notification may be printed twice, but none is skipped.
    """
    begin = _remembered(state) or since
    with NotifierClient(url, token=token) as client:
        get_token = _from(token_command) if token_command else None
        with client.listen(topics, begin, get_token=get_token, deadline=deadline, inbox=inbox) as stream:
            say(f"Listening to {client.url}.")
            for event in stream:
                _show(event, as_json)
                _remember(state, stream.position)
                count = count - 1 if count and isinstance(event, Received) else count
                if count == 0:
                    return


def _from(command: str) -> Callable[[], str]:
    def get_token() -> str:
        try:
            done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: an unclosed quote
            raise ConfigurationError(f"--token-command prints no token: {error}") from error
        return done.stdout.strip()

    return get_token


def _show(event: Event, as_json: bool) -> None:
    if isinstance(event, Lost):
        say(f"Notifications of {', '.join(event.channels)} are lost permanently.")
    if as_json:
        _print_json(event)
    elif isinstance(event, Received):
        click.echo(notification_line(event.channel, event.notification))
    elif isinstance(event, Removed):
        click.echo(printable(f"removed {event.id}"))
    elif isinstance(event, State):
        click.echo(f"inbox {counts_line(event.counts)}")
    sys.stdout.flush()


def _print_json(event: Event) -> None:
    try:
        click.echo(json_line(_document(event)))
    except RecursionError:  # notifications of older services may be nested as deep as Python can read
        say(f"Skipped an event that is nested too deep: {getattr(event, 'id', '')}")


def _document(event: Event) -> dict[str, Any]:
    if isinstance(event, State):
        return state_document(event)
    return {"type": type(event).__name__.lower(), **vars(event)}


def _remembered(path: Path | None) -> Position | None:
    if not path or not path.exists():
        return None
    try:
        state = files.load(path, _WHAT)
        return Position(str(state["cursor"]), tuple(map(str, state["seen"])))
    except (TypeError, KeyError) as error:
        raise Failure(f"{path} is not a {_WHAT} of this command: use another one.", FILE) from error


def _remember(path: Path | None, position: Position | None) -> None:
    if path and position:
        files.save(path, _WHAT, position._asdict())
