"""`notifier show`: prints the receipts of a notification."""

from datetime import datetime
from typing import Any

import click

from notifier.cli.failure import say
from notifier.cli.options import json_option, publisher, service_options
from notifier.cli.terminal import printable
from notifier.cli.text import json_line, time_text
from notifier.client import Receipt


@click.command(short_help="Show whether a notification was delivered and read.")
@click.argument("id")
@json_option
@service_options
def show(id: str, as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Print the receipts of the notification ID, one line for each channel that still stores it.

    For a user's channel these are the times when it was stored, delivered, read and archived; - means not yet. For a
    topic, and for all, they are numbers of users.
    """
    with publisher(url, api_key, deadline) as client:
        receipts = client.receipts(id)
    for receipt in receipts:
        document = _document(receipt)
        click.echo(json_line(document) if as_json else _line(document))
    if not receipts:
        say("The notification is no longer stored.")


def _document(receipt: Receipt) -> dict[str, Any]:
    return {
        name: time_text(value) if isinstance(value, datetime) else value for name, value in receipt._asdict().items()
    }


def _line(document: dict[str, Any]) -> str:
    channel, *facts = document.items()
    words = (f"{name.removesuffix('_at')} {'-' if value is None else value}" for name, value in facts)
    return printable("  ".join((channel[1], *words)))
