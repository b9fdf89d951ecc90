"""`notifier token`: issues a token for a user, as a backend does."""

import os
import secrets
import time

import click

from notifier.cli.failure import USAGE, Failure
from notifier.cli.options import DATA_DIR, Duration
from notifier.errors import Problem
from notifier.protocol import identity
from notifier.protocol.token_request import require_sendable
from notifier.server.development import TOKEN_SECRET_FILE
from notifier.settings import AuthSettings, SettingError, Settings

_VARIABLES = ("NOTIFIER_TOKEN_", "NOTIFIER_MAX_TOKEN_AGE")


@click.command(short_help="Issue a token for a user.")
@click.argument("user")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="A topic to subscribe to, or a pattern such as project:*.",
)
@click.option("--publish", "publish", multiple=True, help="A topic to publish to, or a pattern.")
@click.option("--tenant", help="The tenant that it is confined to.")
@click.option("--for", "age", type=Duration(), default="1h", show_default=True, help="How long it is valid.")
def token(user: str, topics: tuple[str, ...], publish: tuple[str, ...], tenant: str | None, age: float) -> None:
    """Print a token for USER.

    It is signed with the first secret of NOTIFIER_TOKEN_SECRETS, or with that of development mode in ./.notifier, and
    has what the other NOTIFIER_TOKEN_... variables require. Pass it to `notifier listen` as NOTIFIER_TOKEN.
    """
    settings, now = _settings(), time.time()
    secret, policy = _secret(settings), settings.policy
    id = secrets.token_hex(8)
    text = identity.sign(user, secret, now + age, topics, publish, issued=now, id=id, tenant=tenant, policy=policy)
    try:
        identity.verify(text, (secret,), now, policy)
    except Problem as problem:
        raise Failure(f"The service would reject this token: {problem}", USAGE) from problem
    try:
        require_sendable(text)
    except Problem as problem:
        raise Failure(problem.faults[0].detail, USAGE) from problem
    click.echo(text)


def _settings() -> AuthSettings:
    """Return the settings of tokens; the rest of the environment does not matter here."""
    ours = {name: text for name, text in os.environ.items() if name.startswith(_VARIABLES)}
    try:
        return Settings.from_environ(ours).auth
    except SettingError as error:
        raise Failure(str(error), USAGE) from error


def _secret(settings: AuthSettings) -> str:
    if settings.token_secrets:
        return settings.token_secrets[0]
    file = DATA_DIR / TOKEN_SECRET_FILE
    if not file.exists():
        raise Failure(
            "NOTIFIER_TOKEN_SECRETS is not set: set it to the secrets of the service, or run this in the folder where "
            "`notifier serve --dev` runs.",
            USAGE,
        )
    return file.read_text().strip()
