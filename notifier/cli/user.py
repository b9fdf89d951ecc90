"""`notifier user`: everything that is kept of a user, to be shown or erased; and their connections."""

import click

from notifier.cli.failure import FAILED, Failure, say
from notifier.cli.options import InOrder, publisher, service_options
from notifier.cli.text import json_line


@click.group(cls=InOrder, short_help="Export, erase or disconnect a user.")
def user() -> None:
    """Show or erase what is kept of a user, or close their connections."""


@user.command()
@click.argument("user")
@service_options
def export(user: str, url: str, api_key: str | None, deadline: float) -> None:
    """Print everything that is kept of USER, as one JSON object."""
    with publisher(url, api_key, deadline) as client:
        click.echo(json_line(client.export_user(user)))


@user.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
@service_options
def erase(user: str, yes: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Erase everything that is kept of USER, for good, and close their connections.

    It asks before, unless it is told --yes. If the answer is no, the exit code is 1.
    """
    with publisher(url, api_key, deadline) as client:
        if not yes and not click.confirm(f"Erase everything of {user} at {client.url}, for good?", err=True):
            raise Failure("Nothing was erased.", FAILED)
        client.erase_user(user)
    say(f"Everything of {user} is erased.")


@user.command()
@click.argument("user")
@service_options
def disconnect(user: str, url: str, api_key: str | None, deadline: float) -> None:
    """Close all connections of USER. Their clients stay away until they are started anew."""
    with publisher(url, api_key, deadline) as client:
        client.disconnect_user(user)
    say(f"The connections of {user} are being closed.")
