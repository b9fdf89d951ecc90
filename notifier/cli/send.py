"""`notifier send`: publishes one notification from options, or many from a file or stdin."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from notifier.cli.failure import INTERRUPTED, REFUSED, UNREACHABLE, USAGE, Failure, failure_of, say
from notifier.cli.lines import InputFile, count_of, is_json, read_lines
from notifier.cli.options import json_option, publisher, service_options
from notifier.cli.progress import Progress
from notifier.cli.resume import Resume
from notifier.cli.terminal import printable
from notifier.cli.text import json_line, time_text, without_nothing
from notifier.client import Explanation, NotifierClient, NotifierError, ProblemError, Published
from notifier.client.notification import BATCH_BYTES, BATCH_LINES, Batch, block, malformed, read_data

_TEXTS = ("type", "title", "body", "severity", "action_url", "collapse_key", "retain")
_BLANK = malformed("The line is blank.")  # replaces a blank line, which is not sent
Numbered = tuple[int, bytes]  # a line and its number, from 1


@click.command(short_help="Publish one notification, or a file of them.")
@click.argument("file", required=False, type=InputFile("rb"))
@click.option("--user", "users", multiple=True, help="Recipient: a user. May be repeated.")
@click.option("--topic", "topics", multiple=True, help="Recipients: a topic. May be repeated.")
@click.option("--all", "everyone", is_flag=True, help="Recipients: everyone.")
@click.option("--title")
@click.option("--body")
@click.option("--type", help="A name for programs, for example order.shipped.")
@click.option("--severity", help="info, success, warning, error or critical.")
@click.option("--action-url", help="URL that a click opens.")
@click.option("--data", help="Any JSON, for your own code.")
@click.option("--collapse-key", help="Replaces the earlier notification with this key.")
@click.option("--ttl", type=int, help="Seconds after which it expires.")
@click.option("--retain", help="inbox, history or none.")
@click.option("--idempotency-key", help="Retries with the same key publish it once.")
@click.option("--explain", is_flag=True, help="Publish nothing; print what would happen, and why.")
@click.option("--resume", type=click.Path(dir_okay=False, path_type=Path), help="With FILE: continue this job.")
@json_option
@service_options
def send(
    file: BinaryIO | None,
    url: str,
    api_key: str | None,
    deadline: float,
    as_json: bool,
    explain: bool,
    resume: Path | None,
    idempotency_key: str | None,
    **options: Any,
) -> None:
    """Publish one notification, or those of FILE: one JSON object per line, - for stdin.

    Prints the id of each notification, or with --json the answers of the service. A rejected line is reported on
    stderr, and the others are published; the exit code is then 4.

    With --explain nothing is published: for each channel, and for the first members of a topic, a line says what would
    happen, and why.

    With --resume PATH, progress is stored in that file. After any interruption, run the command again with the same
    input to continue: no line is published twice, and none is skipped.
    """
    given = {name: value for name, value in options.items() if not (value is None or value is False or value == ())}
    with publisher(url, api_key, deadline) as client:
        if explain:
            _explain(client, file, given, as_json)
            return
        if file is None:
            _send_one(client, _notification(given), idempotency_key, as_json)
            return
        if given or idempotency_key is not None:
            raise Failure("FILE contains whole notifications: leave out the options that describe one.", USAGE)
        _Sending(client, Resume(resume, client.url), as_json).run(file)


def _notification(given: dict[str, Any]) -> dict[str, Any]:
    """Return the notification that options describe. The service validates it."""
    to = {
        name: given[option]
        for name, option in (("users", "users"), ("topics", "topics"), ("all", "everyone"))
        if option in given
    }
    if not to:
        raise Failure("Name the recipients: --user, --topic or --all; or give a FILE, - for stdin.", USAGE)
    notification = {"to": to} | {name: given[name] for name in (*_TEXTS, "ttl") if name in given}
    if "data" in given:
        try:
            notification["data"] = read_data(given["data"])
        except ValueError as error:
            raise Failure(
                f"--data is not JSON: {error}. A string needs its own quotes: --data '\"text\"'", USAGE
            ) from error
    return notification


def _explain(client: NotifierClient, file: BinaryIO | None, given: dict[str, Any], as_json: bool) -> None:
    if file is not None:
        raise Failure("--explain takes one notification: describe it by options.", USAGE)
    for explanation in client.explain(_notification(given)):
        for line in [json_line(_explanation(explanation))] if as_json else _lines(explanation):
            click.echo(printable(line))


def _explanation(explanation: Explanation) -> dict[str, Any]:
    members = [_explanation(member) for member in explanation.members]
    return without_nothing(explanation._asdict() | {"members": members or None})


def _lines(explanation: Explanation) -> Iterator[str]:
    """Yield what would happen on a channel, and for a topic, to its members."""
    name = explanation.channel if explanation.user is None else f"  {explanation.user}"
    outcome = "pushed" if explanation.pushed else "stored" if explanation.stored else "dropped"
    count = "" if explanation.member_count is None else "  " + count_of(explanation.member_count, "member", "members")
    yield f"{name}  {outcome}  {explanation.reason}{count}"
    for member in explanation.members:
        yield from _lines(member)


def _send_one(client: NotifierClient, notification: dict[str, Any], key: str | None, as_json: bool) -> None:
    published = client.publish(notification, idempotency_key=key)
    click.echo(json.dumps(_document(published)) if as_json else printable(published.id))


class _Sending:
    """Sends lines in batches, and prints their results."""

    def __init__(self, client: NotifierClient, resume: Resume, as_json: bool) -> None:
        self._client = client
        self._resume = resume
        self._as_json = as_json
        self._refused = 0
        self._published = 0

    def run(self, file: BinaryIO) -> None:
        """Send the lines of a file.

        Raises:
            Failure: the service rejected lines, or the job was interrupted.
        """
        try:
            with Progress(file) as progress:
                for lines in self._new_lines(file, progress):
                    self._send(lines)
                    progress.advance(line for _, line in lines)
            self._resume.finish()
        except KeyboardInterrupt:
            raise Failure(f"Stopped. {self._rest()}", INTERRUPTED) from None
        except NotifierError as error:
            raise failure_of(error, self._rest()) from error
        if self._refused:
            rejected = count_of(self._refused, "line was rejected", "lines were rejected")
            raise Failure(f"{rejected}, {count_of(self._published, 'was', 'were')} published.", REFUSED)

    def _new_lines(self, file: BinaryIO, progress: Progress) -> Iterator[list[Numbered]]:
        """Yield the lines that no earlier run has sent, in batches, as soon as they can be read."""
        first = 1
        for group in read_lines(file):
            done = list(itertools.takewhile(self._resume.is_done, group))
            progress.advance(done)
            lines = list(enumerate(group, first))[len(done) :]
            first += len(group)
            while lines:
                count = self._fitting(lines)
                yield lines[:count]
                lines = lines[count:]

    def _fitting(self, lines: list[Numbered]) -> int:
        """Return how many lines fit into the next batch; at least one."""
        _, offset = block("", self._resume.job.lines)
        sizes = itertools.accumulate(len(line) for _, line in lines[: BATCH_LINES - offset])
        return max(sum(1 for size in sizes if size <= BATCH_BYTES), 1)

    def _send(self, lines: list[Numbered]) -> None:
        """Send a batch, print its results, and only then record it as done."""
        self._require_whole(*lines[-1])
        self._resume.begin()
        key, offset = block(self._resume.job.id, self._resume.job.lines)
        results = self._client.publish_batch(Batch(key, [line.strip() or _BLANK for _, line in lines], offset))
        for result in results:
            if isinstance(result, ProblemError) and result.is_temporary:
                raise Failure(f"Some lines could not be published: {result} {self._rest()}", UNREACHABLE)
        for (number, _), result in zip(lines, results, strict=True):
            if result is not _BLANK:
                self._print(number, result)
        sys.stdout.flush()
        self._resume.advance(line for _, line in lines)

    def _require_whole(self, number: int, line: bytes) -> None:
        """Reject a last line that was cut off: the next run may read it as a whole.

        Raises:
            Failure
        """
        if not line.endswith(b"\n") and line.strip() and not is_json(line):
            raise Failure(f"Line {number} is incomplete, and was not sent. {self._rest()}", USAGE)

    def _print(self, number: int, result: Published | ProblemError) -> None:
        if isinstance(result, ProblemError):
            self._refused += 1
            say(f"Line {number} was rejected: {result}")
        else:
            self._published += 1
        if self._as_json:
            click.echo(json.dumps({"line": number} | _document(result)))
        elif isinstance(result, Published):
            click.echo(printable(result.id))

    def _rest(self) -> str:
        """Return how many lines are done, and how to continue."""
        done = count_of(self._resume.job.lines, "line is done", "lines are done")
        if self._resume.is_kept:
            return f"{done}; run the same command again to continue."
        return f"{done}, and possibly some of the next {BATCH_LINES}. With --resume PATH such a job can be continued."


def _document(result: Published | ProblemError) -> dict[str, Any]:
    if isinstance(result, ProblemError):
        return result.document
    channels = [without_nothing(channel._asdict()) for channel in result.channels]
    created = time_text(result.created_at)
    document = {"status": 201, "id": result.id, "created_at": created, "channels": channels}
    return document | ({"replayed": True} if result.replayed else {})
