"""A batch: newline-delimited JSON, with one notification and one answer per line."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from werkzeug import Request

from notifier.errors import BodyTooLarge, BrokerUnavailable, InvalidApiKey, MalformedJson, Problem, RateLimited
from notifier.http import body
from notifier.http.answers import encode
from notifier.http.credentials import idempotency_key
from notifier.loop import give_way
from notifier.protocol import notification
from notifier.protocol import tenant as tenants
from notifier.protocol.api_key import ApiKey
from notifier.protocol.notification import Limits, Publication
from notifier.publishing.publisher import Answer, Payer, Post, Publisher
from notifier.settings import PublishingSettings

RECIPIENT = 400  # bytes of memory that a recipient takes until its publication is answered, about
_COUNTED = 16384  # bytes of lines that are counted at once
_BATCH = 256  # appends published together: a few milliseconds, then other requests have their turn


class _Line(NamedTuple):
    """A line of the body, numbered from 1, and the publication that it describes or what is wrong with it.

    The text is that of a publication.
    """

    number: int
    text: bytes
    parsed: Publication | Problem

    @property
    def weight(self) -> int:
        """Return how many appends it takes, about: the body of each goes out once for each channel."""
        publication = self.parsed
        if isinstance(publication, Problem):
            return 1
        return len(publication.channels) * (1 + len(publication.fields) // 4096)

    @property
    def size(self) -> int:
        """Return how many bytes of memory it takes, about: it is parsed, and kept for its idempotency key."""
        number = len(self.parsed.channels) if isinstance(self.parsed, Publication) else 0
        return 2 * len(self.text) + RECIPIENT * number


class Batches:
    """Publishes the lines of request bodies."""

    def __init__(
        self,
        publisher: Publisher,
        limits: Limits,
        settings: PublishingSettings,
        payer: Callable[[ApiKey], Payer | None] = lambda _: None,
    ) -> None:
        self._publisher = publisher
        self._limits = limits
        self._settings = settings
        self._payer = payer

    def publish(
        self, request: Request, key: ApiKey, audit: Callable[[str], bytes], check: Callable[[], object]
    ) -> Iterator[bytes]:
        """Publish the body, and yield an answer for each line. A bad line does not fail the others.

        `audit` is that of posts to all. `check` raises if the key has been revoked since the request began, or has too
        many answers in memory.
        """
        name = idempotency_key(request, key)
        payer = self._payer(key)
        everyone = tenants.everyone_of(key.tenant)
        failure: Problem | None = None
        for batch in self._batches(request, key):
            posts = [
                Post(
                    line.parsed,
                    line.text,
                    f"{name}:{line.number}" if name else "",
                    payer=payer,
                    audit=audit if everyone in line.parsed.channels else None,
                )
                for line in batch
                if isinstance(line.parsed, Publication)
            ]
            answers: Iterator[Answer | Problem | None] = itertools.repeat(failure)
            if posts and failure is None:
                try:
                    check()
                    answers = iter(self._publisher.publish(posts))
                except (BrokerUnavailable, InvalidApiKey, RateLimited) as problem:
                    # Later lines would fail too, or only wait for the same timeout, each batch again.
                    answers, failure = itertools.repeat(problem), problem
            for line in batch:
                yield _answer(line.number, line.parsed if isinstance(line.parsed, Problem) else next(answers))
            give_way()  # other greenlets have their turn, also if no line needed Redis

    def _batches(self, request: Request, key: ApiKey) -> Iterator[list[_Line]]:
        """Yield the lines, as many at a time as are published together. Until then they count as memory of the key."""
        batch: list[_Line] = []
        weight = read = kept = held = 0
        for number, text in enumerate(self._lines(request), 1):
            if number > self._settings.max_batch_lines:
                batch.append(_Line(number, b"", BodyTooLarge(f"At most {self._settings.max_batch_lines} lines.")))
                break
            read += 1 if isinstance(text, Problem) else 1 + len(text) // _BATCH
            if read >= _BATCH:  # lines, or 64 KB: also lines that are not published take time
                read = 0
                give_way()
            if not text:
                continue
            line = self._parse(number, text, key)
            kept += line.size
            if kept - held >= _COUNTED:
                try:
                    body.hold(request.environ, kept - held)
                    held = kept
                except RateLimited as problem:
                    line = _Line(number, b"", problem)
            batch.append(line)
            weight += line.weight
            if weight >= _BATCH:
                yield batch
                body.hold(request.environ, -held)
                batch, weight, kept, held = [], 0, 0, 0
        if batch:
            yield batch

    def _parse(self, number: int, text: bytes | Problem, key: ApiKey) -> _Line:
        if isinstance(text, Problem):
            return _Line(number, b"", text)
        try:
            publication = notification.parse(text, self._limits).scoped(key.tenant)
            key.require_grants(publication.channels, "publish")
        except MalformedJson as problem:
            has_cr = b"\r" in text
            cure = "Lines end with LF, not with CR alone." if has_cr else "Each line must be one whole JSON object."
            return _Line(number, b"", MalformedJson(f"{problem.detail} {cure}"))
        except Problem as problem:
            return _Line(number, b"", problem)
        return _Line(number, text, publication)

    def _lines(self, request: Request) -> Iterator[bytes | Problem]:
        """Yield the lines of the body as they arrive, without the spaces around them.

        A line that is too long is a problem in its place. If the body is too long or was cut off, the problem is the
        last line: the lines before are published, half a line is not. No line follows the last line break.
        """
        longest = self._settings.max_notification_bytes
        rest, skipping = b"", False
        try:
            for data in body.pieces(request, self._settings.max_batch_bytes):
                *lines, rest = (rest + data).split(b"\n")
                if lines and skipping:
                    del lines[0]
                    skipping = False
                for line in lines:
                    yield line.strip()
                if skipping:
                    rest = b""
                elif len(rest) > longest:
                    rest = rest.lstrip()
                    if len(rest.rstrip()) > longest:
                        yield BodyTooLarge(f"A line has at most {longest} bytes.")
                        rest, skipping = b"", True
                    rest = rest[:longest]  # drops spaces only; if more text follows, the line is still too long
        except Problem as problem:
            yield problem
            return
        if last := rest.strip():
            yield last


def _answer(number: int, answer: Any) -> bytes:
    if isinstance(answer, Answer):
        replayed = b'"replayed":true,' if answer.replayed else b""
        return b'{"line":%d,"status":201,%b%b\n' % (number, replayed, answer.json[1:])
    return encode({"line": number} | answer.document()) + b"\n"
