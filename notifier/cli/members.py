"""`notifier members`: shows and changes the members of topics."""

import sys
from collections.abc import Iterator

import click

from notifier.cli.failure import REFUSED, Failure
from notifier.cli.options import InOrder, json_option, publisher, service_options
from notifier.cli.terminal import printable
from notifier.cli.text import json_line
from notifier.client import MembersChanged

_USERS = click.argument("users", metavar="USER...", nargs=-1, required=True)


@click.group(cls=InOrder, short_help="Show and change the members of a topic.")
def members() -> None:
    """Show and change the members of a topic.

    Notifications to a topic appear in the inboxes of its members, without a subscription.
    """


@members.command("list")
@click.argument("topic")
@service_options
def show(topic: str, url: str, api_key: str | None, deadline: float) -> None:
    """Print the members of TOPIC, one per line."""
    with publisher(url, api_key, deadline) as client:
        for user in client.members(topic):
            click.echo(printable(user))


@members.command()
@click.argument("topic")
@_USERS
@json_option
@service_options
def add(topic: str, users: tuple[str, ...], as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Add USERs to the members of TOPIC; - reads users from stdin, one per line.

    Prints how many were added. If a user is a member of too many topics, the exit code is 4.
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
    """Remove USERs from the members of TOPIC; - reads users from stdin, one per line.

    Prints how many were removed. The notifications of the topic disappear from their inboxes.
    """
    with publisher(url, api_key, deadline) as client:
        done = client.change_members(topic, remove=_named(users))
    _print(done, f"{done.removed} removed", as_json)


def _named(users: tuple[str, ...]) -> Iterator[str]:
    """Yield the users, with those in stdin in place of a -."""
    for user in users:
        if user == "-":
            yield from filter(None, sys.stdin.buffer.read().decode(errors="surrogateescape").splitlines())
        else:
            yield user


def _print(done: MembersChanged, text: str, as_json: bool) -> None:
    click.echo(json_line(done._asdict()) if as_json else text)
