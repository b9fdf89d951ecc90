"""`notifier user`: exports, erases and disconnects users."""

import click

from notifier.cli.failure import FAILED, Failure, say
from notifier.cli.options import InOrder, publisher, service_options
from notifier.cli.text import json_line


@click.group(cls=InOrder, short_help="Export, erase or disconnect a user.")
def user() -> None:
    """Export or erase everything that is stored about a user, or close the user's connections."""


@user.command()
@click.argument("user")
@service_options
def export(user: str, url: str, api_key: str | None, deadline: float) -> None:
    """Print everything that is stored about USER, as one JSON object."""
    with publisher(url, api_key, deadline) as client:
        click.echo(json_line(client.export_user(user)))


@user.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@service_options
def erase(user: str, yes: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Erase everything that is stored about USER permanently, and close the user's connections.

    Asks for confirmation, unless --yes is given. If the answer is no, the exit code is 1.
    """
    with publisher(url, api_key, deadline) as client:
        if not yes and not click.confirm(f"Erase everything about {user} at {client.url} permanently?", err=True):
            raise Failure("Nothing was erased.", FAILED)
        client.erase_user(user)
    say(f"Everything about {user} is erased.")


@user.command()
@click.argument("user")
@click.option("--revoke", is_flag=True, help="Also revoke the tokens that USER has.")
@service_options
def disconnect(user: str, revoke: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Close all connections of USER. The clients do not reconnect until they are restarted.

    With --revoke, nobody can connect with the tokens that USER has now.
    """
    with publisher(url, api_key, deadline) as client:
        client.disconnect_user(user, revoke=revoke)
    say(f"The connections of {user} are being closed.")
