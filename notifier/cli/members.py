"""`notifier members`: who is a member of a topic, and so has in the inbox what is published to it."""

import sys
from collections.abc import Iterator

import click

from notifier.cli.failure import REFUSED, Failure
from notifier.cli.options import InOrder, json_option, publisher, service_options
from notifier.cli.text import json_line
from notifier.client import MembersChanged

_USERS = click.argument("users", metavar="USER...", nargs=-1, required=True)


@click.group(cls=InOrder, short_help="Show and change who is a member of a topic.")
def members() -> None:
    """Show and change who is a member of a topic.

    A member has in the inbox what is published to the topic, from then on, and need not listen to it.
    """


@members.command("list")
@click.argument("topic")
@service_options
def show(topic: str, url: str, api_key: str | None, deadline: float) -> None:
    """Print the members of TOPIC, one a line."""
    with publisher(url, api_key, deadline) as client:
        for user in client.members(topic):
            click.echo(user)


@members.command()
@click.argument("topic")
@_USERS
@json_option
@service_options
def add(topic: str, users: tuple[str, ...], as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Let USERs be members of TOPIC; - for those of stdin, one a line.

    Prints how many were not before. If some cannot be, because they are members of too many topics, the exit code is 4.
    """
    with publisher(url, api_key, deadline) as client:
        done = client.change_members(topic, add=_named(users))
    _print(done, f"{done.added} added", as_json)
    if done.refused:
        raise Failure(f"Members of too many topics: {', '.join(done.refused)}", REFUSED)


@members.command()
@click.argument("topic")
@_USERS
@json_option
@service_options
def remove(topic: str, users: tuple[str, ...], as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Let USERs be members of TOPIC no more; - for those of stdin, one a line.

    Prints how many were. What came by the topic leaves their inboxes.
    """
    with publisher(url, api_key, deadline) as client:
        done = client.change_members(topic, remove=_named(users))
    _print(done, f"{done.removed} removed", as_json)


def _named(users: tuple[str, ...]) -> Iterator[str]:
    """Yield the users that are named, and those of stdin in the place of a -."""
    for user in users:
        if user == "-":
            yield from filter(None, sys.stdin.buffer.read().decode(errors="surrogateescape").splitlines())
        else:
            yield user


def _print(done: MembersChanged, text: str, as_json: bool) -> None:
    click.echo(json_line(done._asdict()) if as_json else text)
