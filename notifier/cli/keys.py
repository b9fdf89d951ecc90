"""`notifier keys`: makes and lists API keys for NOTIFIER_API_KEYS."""

import json
import os
import secrets

import click

from notifier.cli.failure import USAGE, Failure, say
from notifier.cli.options import json_option
from notifier.protocol.api_key import SCOPES, ApiKey
from notifier.settings import SettingError, Settings


@click.group(short_help="Make and list API keys.")
def keys() -> None:
    """Make API keys for NOTIFIER_API_KEYS, and list those in it."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do.  [default: all]")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="A topic, or a pattern such as project:*.  [default: all]",
)
def new(name: str, scopes: tuple[str, ...], topics: tuple[str, ...]) -> None:
    """Print a new API key with the id NAME.

    Without options it is NAME:SECRET; separate several with commas. With options it is an object for the JSON list.
    The publisher sends only the secret. Nothing is stored: add the line to NOTIFIER_API_KEYS.
    """
    secret = "nk_" + secrets.token_urlsafe(24)
    chosen = {"scopes": list(scopes), "topics": list(topics)}
    entry = {"id": name, "secret": secret} | {field: names for field, names in chosen.items() if names}
    restricted = bool(scopes or topics)
    line = json.dumps(entry) if restricted else f"{name}:{secret}"
    read = _read(f"[{line}]" if restricted else line)
    if [(key.id, key.secret) for key in read] != [(name, secret)]:
        raise Failure("A name has no colons and no commas, and does not begin with a bracket or a space.", USAGE)
    click.echo(line)
    say("Add this to NOTIFIER_API_KEYS of the service" + (", a JSON list." if restricted else "."))


@keys.command("list")
@json_option
def show(as_json: bool) -> None:
    """List the keys in NOTIFIER_API_KEYS, without their secrets."""
    found = _read(os.environ.get("NOTIFIER_API_KEYS", ""))
    if not found:
        say("There are no keys: NOTIFIER_API_KEYS is not set.")
    for key in found:
        scopes, topics = sorted(key.scopes), list(key.topics)
        if as_json:
            click.echo(json.dumps({"id": key.id, "scopes": scopes, "topics": topics}))
        else:
            click.echo(f"{key.id}  scopes: {', '.join(scopes) or 'none'}  topics: {', '.join(topics) or 'none'}")


def _read(text: str) -> tuple[ApiKey, ...]:
    try:
        return Settings.from_environ({"NOTIFIER_API_KEYS": text}).auth.api_keys
    except SettingError as error:
        raise Failure(str(error), USAGE) from error
