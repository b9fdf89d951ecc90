"""`notifier keys`: manages API keys, and makes keys for NOTIFIER_API_KEYS."""

import json
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from notifier.cli.failure import USAGE, Failure, say
from notifier.cli.options import Duration, InOrder, json_option, publisher, service_options
from notifier.cli.terminal import printable
from notifier.cli.text import json_line, time_text
from notifier.client import Key, NewKey
from notifier.protocol.api_key import SCOPES, ApiKey
from notifier.settings import SettingError, Settings

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=InOrder, short_help="Manage API keys.")
def keys() -> None:
    """Create, list, rotate and revoke API keys.

    All but `new` need an API key with the scope admin, for example one in NOTIFIER_API_KEYS of the service.
    """


def _grants(command: F) -> F:
    """Add the options that say what a key may do."""
    scope = click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="A scope of the key.")
    topic = click.option(
        "--topic", "topics", multiple=True, help="A topic, or a pattern such as project:*.  [default: all]"
    )
    user = click.option("--user", "users", multiple=True, help="A user, or a pattern such as acme:*.  [default: all]")
    return scope(topic(user(command)))


@keys.command()
@click.argument("name")
@_grants
@click.option("--for", "age", type=Duration(), help="How long it is valid.  [default: for ever]")
@click.option("--tenant", help="The tenant that it is confined to.  [default: that of your own key]")
@click.option("--test", is_flag=True, help="Begin the key with nk_test_, so that people can tell it from others.")
@json_option
@service_options
def create(
    name: str,
    scopes: tuple[str, ...],
    topics: tuple[str, ...],
    users: tuple[str, ...],
    age: float | None,
    tenant: str | None,
    test: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
    deadline: float,
) -> None:
    """Create an API key, and print it. Nobody can look it up later: store it now.

    NAME says what the key is for. All workers accept it at once.
    """
    if not scopes:
        raise Failure("Say what the key may do, with one or more --scope.", USAGE)
    expires_in = None if age is None else int(age)
    with publisher(url, api_key, deadline) as client:
        made = client.create_key(
            name,
            scopes,
            topics=topics or None,
            users=users or None,
            expires_in=expires_in,
            test=test,
            tenant=tenant,
        )
    _print_new(made, as_json)
    say(f"The id of the key is {made.key.id}.")


@keys.command("list")
@json_option
@service_options
def show(as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """List all keys, without their secrets: also those in the settings of the service."""
    with publisher(url, api_key, deadline) as client:
        for key in client.api_keys():
            click.echo(json_line(_document(key)) if as_json else _line(key))


@keys.command()
@click.argument("id")
@click.option("--overlap", type=Duration(), help="How long the old secret is still accepted.  [default: 1d]")
@json_option
@service_options
def rotate(id: str, overlap: float | None, as_json: bool, url: str, api_key: str | None, deadline: float) -> None:
    """Give the key ID a new secret, and print the new key. Nobody can look it up later: store it now.

    The old secret is accepted during the overlap; with --overlap 0 all others end at once.
    """
    with publisher(url, api_key, deadline) as client:
        made = client.rotate_key(id, overlap=None if overlap is None else int(overlap))
    _print_new(made, as_json)
    until = time_text(made.key.old_secret_until)
    say(f"The old secret is accepted until {until}." if until else "All other secrets of the key have ended.")


@keys.command()
@click.argument("id")
@service_options
def revoke(id: str, url: str, api_key: str | None, deadline: float) -> None:
    """Revoke the key ID. All workers reject it within a second."""
    with publisher(url, api_key, deadline) as client:
        client.revoke_key(id)
    say("The key is revoked.")


@keys.command()
@click.argument("name")
@_grants
@click.option("--tenant", help="The tenant that it is confined to.")
def new(
    name: str, scopes: tuple[str, ...], topics: tuple[str, ...], users: tuple[str, ...], tenant: str | None
) -> None:
    """Print a new entry for NOTIFIER_API_KEYS with the id NAME.

    Without options it is NAME:SECRET; separate several with commas. With options it is an object for the JSON list.
    The publisher sends only the secret. Nothing is stored: add the line to NOTIFIER_API_KEYS, or to its file.
    """
    secret = "nk_" + secrets.token_urlsafe(24)
    chosen = {"scopes": list(scopes), "topics": list(topics), "users": list(users), "tenant": tenant}
    restrictions = {field: names for field, names in chosen.items() if names not in ([], None)}
    entry, restricted = {"id": name, "secret": secret} | restrictions, bool(restrictions)
    line = json.dumps(entry) if restricted else f"{name}:{secret}"
    read = _read(f"[{line}]" if restricted else line)
    if [(key.id, key.secret, key.tenant) for key in read] != [(name, secret, tenant or "")]:
        raise Failure("A name has no colons and no commas, and does not begin with a bracket or a space.", USAGE)
    click.echo(line)
    say("Add this to NOTIFIER_API_KEYS of the service" + (", a JSON list." if restricted else "."))


def _print_new(made: NewKey, as_json: bool) -> None:
    click.echo(json_line({"key": made.text} | _document(made.key)) if as_json else printable(made.text))


def _document(key: Key) -> dict[str, Any]:
    return {name: time_text(value) if isinstance(value, datetime) else value for name, value in key._asdict().items()}


def _line(key: Key) -> str:
    words = [key.id, key.name or "-", _state(key), *([f"tenant: {key.tenant}"] if key.tenant else [])]
    for kind, names in (("scopes", key.scopes), ("topics", key.topics), ("users", key.users)):
        words.append(f"{kind}: {', '.join(names) or 'none'}")
    words.append(f"last used: {time_text(key.last_used_at) or '-'}")
    return printable("  ".join(words))


def _state(key: Key) -> str:
    if key.created_at is None:
        return "in the settings"
    if key.revoked_at:
        return f"revoked {time_text(key.revoked_at)}"
    if key.old_secret_until:
        return f"rotating until {time_text(key.old_secret_until)}"
    if key.expires_at is None:
        return "active"
    return f"{'expired' if key.expires_at <= datetime.now(key.expires_at.tzinfo) else 'active until'} " + str(
        time_text(key.expires_at)
    )


def _read(text: str) -> tuple[ApiKey, ...]:
    try:
        return Settings.from_environ({"NOTIFIER_API_KEYS": text}).auth.api_keys
    except SettingError as error:
        raise Failure(str(error), USAGE) from error
