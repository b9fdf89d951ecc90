"""`notifier revoke`: revokes tokens."""

import time

import click

from notifier.cli.failure import USAGE, Failure, say
from notifier.cli.options import Duration, publisher, service_options


@click.command(short_help="Revoke tokens.")
@click.argument("user", required=False)
@click.option("--jti", help="Revoke only the token with this id (its claim jti).")
@click.option("--age", type=Duration(), help="Revoke only tokens that are older, such as 10m.  [default: all]")
@service_options
def revoke(
    user: str | None, jti: str | None, age: float | None, url: str, api_key: str | None, deadline: float
) -> None:
    """Revoke the tokens that USER has now, or one token, on all workers.

    Connections that use them are closed within a second. Their clients fetch a new token and reconnect.
    """
    if (user is None) == (jti is None) or (jti is not None and age is not None):
        raise Failure("Name either a USER, with or without --age, or a --jti.", USAGE)
    with publisher(url, api_key, deadline) as client:
        if jti is not None:
            client.revoke_token(jti)
            say("The token is revoked.")
        elif user is not None:
            client.revoke_tokens(user, issued_before=None if age is None else time.time() - age)
            say(f"The tokens of {user} are revoked.")
