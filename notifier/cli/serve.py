"""`notifier serve`: runs the service in gunicorn, like `gunicorn wsgi:app` in a checkout."""

import importlib.util
import os
import sys

import click

from notifier.cli.failure import SERVER_MODULES, no_server

_COMMAND = ("-m", "gunicorn", "--config", "python:notifier.server.gunicorn_conf", "notifier.server.wsgi:app")


@click.command(short_help="Run the service.")
@click.option("--dev", is_flag=True, help="Development mode: demo page, generated API key and token secret.")
@click.option("--bind", metavar="ADDRESS", help="Where to listen: host:port, or unix:/path.  [default: 127.0.0.1:8080]")
@click.option("--workers", type=click.IntRange(min=1), help="Number of worker processes.  [default: the cores]")
def serve(dev: bool, bind: str | None, workers: int | None) -> None:
    """Run the service, until SIGTERM or Ctrl-C.

    All other settings are environment variables; docs/settings.md lists them. Without NOTIFIER_REDIS_URL it starts an
    embedded Valkey, whose files are in ./.notifier.
    """
    for name in SERVER_MODULES:
        if importlib.util.find_spec(name) is None:
            raise no_server(name)
    given = {"NOTIFIER_DEV": "1" if dev else None, "NOTIFIER_BIND": bind, "NOTIFIER_WORKERS": workers}
    environ = os.environ | {name: str(value) for name, value in given.items() if value is not None}
    # This process becomes gunicorn, so that gunicorn receives the signals itself.
    os.execve(sys.executable, [sys.executable, *_COMMAND], environ)
