"""`notifier audit`: prints the audit log."""

import itertools
from typing import Any

import click

from notifier.cli.options import json_option, publisher, service_options
from notifier.cli.terminal import printable
from notifier.cli.text import json_line, time_text
from notifier.client import AuditEntry


@click.command(short_help="Show who did what.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many entries to print.")
@click.option("--all", "is_all", is_flag=True, help="Print all entries.")
@click.option("--tenant", help="Of this tenant.  [default: that of your own key]")
@json_option
@service_options
def audit(
    limit: int, is_all: bool, tenant: str | None, as_json: bool, url: str, api_key: str | None, deadline: float
) -> None:
    """Print the audit log, the newest entries first: time, action, API key, address, and what it was done to.

    The API key needs the scope admin, and must grant all topics and users.
    """
    with publisher(url, api_key, deadline) as client:
        for entry in itertools.islice(client.audit(tenant=tenant), None if is_all else limit):
            click.echo(json_line(_document(entry)) if as_json else _line(entry))


def _document(entry: AuditEntry) -> dict[str, Any]:
    return entry._asdict() | {"at": time_text(entry.at)}


def _line(entry: AuditEntry) -> str:
    who = f"{entry.key_id} ({entry.key_name})" if entry.key_name else entry.key_id
    words = (str(time_text(entry.at)), entry.action, who, entry.address or "-", json_line(entry.target))
    return printable("  ".join(words))
