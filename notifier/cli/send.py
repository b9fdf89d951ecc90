"""`notifier send`: publish one notification from options, or many from a file or stdin."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from notifier.cli.failure import INTERRUPTED, REFUSED, UNREACHABLE, USAGE, Failure, failure_of, say
from notifier.cli.options import json_option, publisher, service_options
from notifier.cli.progress import Progress
from notifier.cli.resume import Resume
from notifier.cli.text import json_line, time_text, without_nothing
from notifier.client import Explanation, NotifierClient, NotifierError, ProblemError, Published
from notifier.client.notification import BATCH_BYTES, BATCH_LINES, Batch, block, malformed

_TEXTS = ("type", "title", "body", "severity", "action_url", "collapse_key", "retain")
_LONGEST_LINE = 16 << 20  # bytes: more than any service takes
_BLANK = malformed("The line is blank.")  # in the place of a blank line, which is not sent
Numbered = tuple[int, bytes]  # a line and its number, from 1


@click.command(short_help="Publish one notification, or a file of them.")
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--user", "users", multiple=True, help="A user it is for. May be repeated.")
@click.option("--topic", "topics", multiple=True, help="A topic it is for. May be repeated.")
@click.option("--all", "everyone", is_flag=True, help="It is for everyone.")
@click.option("--title")
@click.option("--body")
@click.option("--type", help="A name for machines, for example order.shipped.")
@click.option("--severity", help="info, success, warning, error or critical.")
@click.option("--action-url", help="Where a click leads.")
@click.option("--data", help="Any JSON, for your pages.")
@click.option("--collapse-key", help="It takes the place of the earlier one with this key.")
@click.option("--ttl", type=int, help="After so many seconds nobody is sent it any more.")
@click.option("--retain", help="inbox, history or none.")
@click.option("--idempotency-key", help="Repeated with the same key it is published once.")
@click.option("--explain", is_flag=True, help="Publish nothing, but print what would happen, and why.")
@click.option("--resume", type=click.Path(dir_okay=False, path_type=Path), help="With FILE: go on after what ended it.")
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
    **members: Any,
) -> None:
    """Publish one notification, or those of FILE: one JSON object a line, - for stdin.

    Prints the id of each notification, or with --json what the service answered. A line that is refused is named on
    stderr and does not hold up the others; the exit code is then 4.

    With --explain it is not published: for each channel a line says what would happen, and why; the first members of a
    topic have lines of their own.

    With --resume PATH, what was done is kept in that file. Whatever ends the command, run it again with the same input
    and it goes on: nothing is sent twice, nothing is left out.
    """
    given = {name: value for name, value in members.items() if value not in (None, (), False)}
    with publisher(url, api_key, deadline) as client:
        if explain:
            _explain(client, file, given, as_json)
            return
        if file is None:
            _send_one(client, _notification(given), idempotency_key, as_json)
            return
        if given or idempotency_key:
            raise Failure("FILE has whole notifications: leave out the options that describe one.", USAGE)
        _Sending(client, Resume(resume, client.url), as_json).run(file)


def _notification(given: dict[str, Any]) -> dict[str, Any]:
    """Return the notification of the options; what is wrong with it the service says best."""
    to = {
        name: given[option]
        for name, option in (("users", "users"), ("topics", "topics"), ("all", "everyone"))
        if option in given
    }
    if not to:
        raise Failure("Say whom it is for: --user, --topic or --all; or give a FILE, - for stdin.", USAGE)
    notification = {"to": to} | {name: given[name] for name in (*_TEXTS, "ttl") if name in given}
    if "data" in given:
        try:
            notification["data"] = json.loads(given["data"])
        except ValueError as error:
            raise Failure(
                f"--data is no JSON: {error}. A text needs quotes of its own: --data '\"text\"'", USAGE
            ) from error
    return notification


def _explain(client: NotifierClient, file: BinaryIO | None, given: dict[str, Any], as_json: bool) -> None:
    if file is not None:
        raise Failure("--explain is for one notification: describe it by options.", USAGE)
    for explanation in client.explain(_notification(given)):
        for line in [json_line(_explanation(explanation))] if as_json else _lines(explanation):
            click.echo(line)


def _explanation(explanation: Explanation) -> dict[str, Any]:
    members = [_explanation(member) for member in explanation.members]
    return without_nothing(explanation._asdict() | {"members": members or None})


def _lines(explanation: Explanation) -> Iterator[str]:
    """Yield what would happen on a channel, and below that of a topic, with its members."""
    name = explanation.channel if explanation.user is None else f"  {explanation.user}"
    outcome = "pushed" if explanation.pushed else "stored" if explanation.stored else "dropped"
    count = "" if explanation.member_count is None else f"  {explanation.member_count} members"
    yield f"{name}  {outcome}  {explanation.reason}{count}"
    for member in explanation.members:
        yield from _lines(member)


def _send_one(client: NotifierClient, notification: dict[str, Any], key: str | None, as_json: bool) -> None:
    published = client.publish(notification, idempotency_key=key)
    click.echo(json.dumps(_document(published)) if as_json else published.id)


class _Sending:
    """Sends lines in batches, and tells what became of them."""

    def __init__(self, client: NotifierClient, resume: Resume, as_json: bool) -> None:
        self._client = client
        self._resume = resume
        self._as_json = as_json
        self._refused = 0
        self._published = 0

    def run(self, file: BinaryIO) -> None:
        """Send what the file has.

        Raises:
            Failure: something was not sent.
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
            raise Failure(f"{self._refused} lines were refused, {self._published} were published.", REFUSED)

    def _new_lines(self, file: BinaryIO, progress: Progress) -> Iterator[list[Numbered]]:
        """Yield the lines that no earlier run has sent, as many as are there and make a batch."""
        first = 1
        for group in _read(file):
            done = list(itertools.takewhile(self._resume.is_done, group))
            progress.advance(done)
            lines = list(enumerate(group, first))[len(done) :]
            first += len(group)
            while lines:
                count = self._fitting(lines)
                yield lines[:count]
                lines = lines[count:]

    def _fitting(self, lines: list[Numbered]) -> int:
        """Return how many of the first lines are a batch; at least one."""
        _, offset = block("", self._resume.job.lines)
        sizes = itertools.accumulate(len(line) for _, line in lines[: BATCH_LINES - offset])
        return max(sum(1 for size in sizes if size <= BATCH_BYTES), 1)

    def _send(self, lines: list[Numbered]) -> None:
        """Send a batch, print what became of it, and only then note it."""
        self._require_whole(*lines[-1])
        self._resume.begin()
        key, offset = block(self._resume.job.id, self._resume.job.lines)
        results = self._client.publish_batch(Batch(key, [line.strip() or _BLANK for _, line in lines], offset))
        for result in results:
            if isinstance(result, ProblemError) and result.is_temporary:
                raise Failure(f"Not everything could be published: {result} {self._rest()}", UNREACHABLE)
        for (number, _), result in zip(lines, results, strict=True):
            if result is not _BLANK:
                self._tell(number, result)
        sys.stdout.flush()
        self._resume.advance(line for _, line in lines)

    def _require_whole(self, number: int, line: bytes) -> None:
        """Refuse a last line that was cut off: what is missing of it may come with the next run.

        Raises:
            Failure
        """
        if not line.endswith(b"\n") and line.strip() and not _is_json(line):
            raise Failure(f"Line {number} ends in the middle, and was not sent. {self._rest()}", USAGE)

    def _tell(self, number: int, result: Published | ProblemError) -> None:
        if isinstance(result, ProblemError):
            self._refused += 1
            say(f"Line {number} is refused: {result}")
        else:
            self._published += 1
        if self._as_json:
            click.echo(json.dumps({"line": number} | _document(result)))
        elif isinstance(result, Published):
            click.echo(result.id)

    def _rest(self) -> str:
        """Say what is done, and how to do the rest."""
        done = self._resume.job.lines
        if self._resume.is_kept:
            return f"{done} lines are done; run the same command again to go on."
        return (
            f"{done} lines are done; of the next {BATCH_LINES} some may be. "
            "With --resume PATH the next such job can be continued."
        )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _read(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield whole lines, with their ends, as soon as they are there; the last one may have no end."""
    rest = b""
    while data := file.read1(BATCH_BYTES):  # type: ignore[attr-defined]
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield [line + b"\n" for line in lines]
        if len(rest) > _LONGEST_LINE:
            raise Failure(f"A line has more than {_LONGEST_LINE:,} bytes: one notification must be in one line.", USAGE)
    if rest:
        yield [rest]


def _document(result: Published | ProblemError) -> dict[str, Any]:
    if isinstance(result, ProblemError):
        return result.document
    channels = [without_nothing(channel._asdict()) for channel in result.channels]
    created = time_text(result.created_at)
    document = {"status": 201, "id": result.id, "created_at": created, "channels": channels}
    return document | ({"replayed": True} if result.replayed else {})
