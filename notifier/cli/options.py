"""Options that several commands have, and the client that they configure."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from notifier.client import NotifierClient
from notifier.server.development import ADDRESS_FILE, API_KEY_FILE

F = TypeVar("F", bound=Callable[..., Any])
LOCAL = "http://127.0.0.1:8080"
DATA_DIR = Path(".notifier")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class InOrder(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)


if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
else:
    _Seconds = click.ParamType  # older versions of click have no generic class


class Duration(_Seconds):
    """A time such as 30s, 15m, 1h or 7d, in seconds. Only 0 needs no unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", value)
        if not found:
            self.fail(f"{value} is not a duration; write for example 30s, 15m, 1h or 7d.", param, ctx)
        number = float(found[1])
        if number and not found[2]:
            self.fail(f"{value} needs a unit: write {value}s, {value}m, {value}h or {value}d.", param, ctx)
        return number * _UNITS[found[2] or "s"]


def local_url() -> str:
    """Return the URL of the service whose development mode has stored its address in the data directory."""
    return f"http://{known}" if (known := _address()) else LOCAL


url_option = click.option(
    "--url",
    envvar="NOTIFIER_URL",
    default=local_url,
    show_default=f"the service of ./{DATA_DIR}, or {LOCAL}",
    help="URL of the service. Also: NOTIFIER_URL.",
)
api_key_option = click.option(
    "--api-key",
    envvar="NOTIFIER_API_KEY",
    help=f"API key. Better: NOTIFIER_API_KEY. The key of development mode is found in ./{DATA_DIR}.",
)
token_option = click.option(
    "--token", envvar="NOTIFIER_TOKEN", help="Token of the user; see `notifier token`. Better: NOTIFIER_TOKEN."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
deadline_option = click.option(
    "--deadline", type=Duration(), default="60s", show_default=True, help="How long to try until giving up."
)


def service_options(command: F) -> F:
    """Add the options of a command that acts for a backend."""
    decorators = (url_option, api_key_option, deadline_option)
    return functools.reduce(lambda decorated, decorate: decorate(decorated), reversed(decorators), command)


def user_options(command: F) -> F:
    """Add the options of a command that acts for a user."""
    decorators = (url_option, token_option, deadline_option)
    return functools.reduce(lambda decorated, decorate: decorate(decorated), reversed(decorators), command)


def publisher(url: str, api_key: str | None, deadline: float) -> NotifierClient:
    """Return the client of a backend."""
    return NotifierClient(url, api_key=known_key(url, api_key), deadline=deadline)


def known_key(url: str, api_key: str | None) -> str | None:
    """Return the API key that was given, or for the service of the data directory the key of development mode."""
    file = DATA_DIR / API_KEY_FILE
    if api_key or not file.exists() or not _is_here(url):
        return api_key
    return file.read_text().strip()


def _is_here(url: str) -> bool:
    """Return whether a URL leads to the port of this machine where the service of the data directory listens."""
    here = urlsplit(local_url())
    try:
        there = urlsplit(url)
        is_same_port = (there.port or 80) == here.port
    except ValueError:
        return False
    names = _LOOPBACK if here.hostname in _LOOPBACK else (here.hostname,)
    return is_same_port and there.scheme == "http" and there.path in ("", "/") and there.hostname in names


def _address() -> str:
    file = DATA_DIR / ADDRESS_FILE
    return file.read_text().strip() if file.exists() else ""
