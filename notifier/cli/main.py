"""The command `notifier`: its subcommands, log messages, and exit codes."""

import logging
import os
import sys
from typing import Any, NoReturn

import click

from notifier import __version__
from notifier.cli.audit import audit
from notifier.cli.bench import bench
from notifier.cli.doctor import doctor
from notifier.cli.failure import INTERRUPTED, SERVER_MODULES, failure_of, file_failure, no_server, say
from notifier.cli.inbox import inbox
from notifier.cli.keys import keys
from notifier.cli.listen import listen
from notifier.cli.members import members
from notifier.cli.options import InOrder
from notifier.cli.revoke import revoke
from notifier.cli.send import send
from notifier.cli.serve import serve
from notifier.cli.show import show
from notifier.cli.token import token
from notifier.cli.user import user
from notifier.client import NotifierError


class _Commands(InOrder):
    """All commands. They end without an error when the reader of their output has closed it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # for example in a pipe to `head`; click would report an error
            _discard_output()
            return 0


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="notifier", message="%(prog)s %(version)s")
def cli() -> None:
    """Run, publish to, and diagnose a Notifier service.

    Data goes to stdout, messages go to stderr. Exit codes: 0 success, 1 something failed, 2 wrong usage, 3 the service
    cannot be reached, 4 it rejected the request, 5 the server is not Notifier or its version is incompatible, 6 a file
    cannot be read or written, 130 interrupted.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("notifier: %(message)s"))
    logger = logging.getLogger("notifier.client")
    logger.handlers = [handler]
    logger.propagate = False


for command in (serve, send, show, listen, inbox, members, user, token, revoke, keys, audit, doctor, bench):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(_run())


def _run() -> int:
    try:
        try:
            code = cli.main(prog_name="notifier", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except NotifierError as error:
            raise failure_of(error) from error
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in SERVER_MODULES:
                raise
            raise no_server(missing) from error
        except OSError as error:
            if error.filename is None:
                _discard_output()
            raise file_failure(error.filename or "The output cannot be written", error) from error
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        say("Stopped.")
        return INTERRUPTED


def _discard_output() -> None:
    """Discard what stdout still holds: Python writes it when it ends, and an error there changes the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
