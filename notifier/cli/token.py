"""`notifier token`: signs a user's token, as a backend does."""

import os
import time

import click

from notifier.cli.failure import USAGE, Failure
from notifier.cli.options import DATA_DIR, Duration
from notifier.errors import Problem
from notifier.protocol import identity
from notifier.server.development import TOKEN_SECRET_FILE
from notifier.settings import SettingError, Settings


@click.command(short_help="Make a user's token.")
@click.argument("user")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="A topic to subscribe to, or a pattern such as project:*.",
)
@click.option("--publish", "publish", multiple=True, help="A topic to publish to, or a pattern.")
@click.option("--for", "age", type=Duration(), default="1h", show_default=True, help="How long it is valid.")
def token(user: str, topics: tuple[str, ...], publish: tuple[str, ...], age: float) -> None:
    """Print a token for USER.

    It is signed with the first secret of NOTIFIER_TOKEN_SECRETS, or with that of development mode in ./.notifier. Pass
    it to `notifier listen` as NOTIFIER_TOKEN.
    """
    secret, now = _secret(), time.time()
    text = identity.sign(user, secret, now + age, topics, publish)
    try:
        identity.verify(text, (secret,), now)
    except Problem as problem:
        raise Failure(f"The service would reject this token: {problem}", USAGE) from problem
    click.echo(text)


def _secret() -> str:
    try:
        secrets = Settings.from_environ(
            {name: text for name, text in os.environ.items() if name == "NOTIFIER_TOKEN_SECRETS"}
        ).auth.token_secrets
    except SettingError as error:
        raise Failure(str(error), USAGE) from error
    if secrets:
        return secrets[0]
    file = DATA_DIR / TOKEN_SECRET_FILE
    if not file.exists():
        raise Failure(
            "NOTIFIER_TOKEN_SECRETS is not set: set it to the secrets of the service, or run this in the folder where "
            "`notifier serve --dev` runs.",
            USAGE,
        )
    return file.read_text().strip()
