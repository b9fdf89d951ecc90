"""The publisher: from a publication to its answer. A batch takes few round trips for keys and appends."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from notifier.broker import idempotency
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Append, Appended, Log
from notifier.errors import BrokerUnavailable, IdempotencyInFlight, IdempotencyMismatch, Problem
from notifier.protocol import channel as channels
from notifier.protocol import notification
from notifier.protocol import tenant as tenants
from notifier.protocol.clock import Clock
from notifier.protocol.daily_usage import Amounts
from notifier.protocol.entry import EPHEMERAL, HISTORY, NOTIFICATION
from notifier.protocol.notification import Publication
from notifier.telemetry import metrics

_HEAD = 85  # bytes that a stored notification has beside its own fields: id and created_at
_KINDS = {"inbox": NOTIFICATION, "history": HISTORY, "none": EPHEMERAL}


class Payer(Protocol):
    """The API key or user that is charged for publications."""

    def charge(self, amounts: Amounts) -> Problem | None:
        """Count a publication, or return why it may not be published."""

    def charge_all(self, amounts: Amounts) -> bool:
        """Count several publications if each of them may be published; otherwise count nothing, and return False."""

    @property
    def may_create_topics(self) -> bool:
        """Whether a topic that does not exist may be published to."""

    def refusal_of_topics(self, number: int) -> Problem | None:
        """Return why so many topics may not be created; None: they may."""

    def created_topics(self, number: int) -> None:
        """Count topics that were created."""


class Post(NamedTuple):
    """A publication to publish. The fingerprint of `body` distinguishes a retry from another request.

    `key` is the idempotency key, already distinct for each API key and user; empty: none. `id` is the id of the
    notification, if the caller must know it before; empty: a new one. A retry that publishes nothing costs the `payer`
    nothing. `audit` returns a command for Redis, which is sent together with the publication: an entry of the audit log
    about the notification with this id.
    """

    publication: Publication
    body: bytes
    key: str = ""
    id: str = ""
    payer: Payer | None = None
    audit: Callable[[str], bytes] | None = None


class Answer(NamedTuple):
    """The answer to a publication, as JSON. `replayed`: it was a retry, and nothing was published."""

    json: bytes
    replayed: bool = False


class _Draft(NamedTuple):
    post: Post
    id: str
    created: float
    is_first: bool = False  # whether nobody had its idempotency key before


class Publisher:
    """Publishes notifications of requests and of connections."""

    def __init__(self, log: Log, keys: IdempotencyKeys, clock: Clock) -> None:
        self._log = log
        self._keys = keys
        self._clock = clock

    def publish(self, posts: list[Post]) -> list[Answer | Problem]:
        """Publish a batch, and return an answer or a problem for each publication.

        Publications without a key take no round trip for those with one.

        Raises:
            BrokerUnavailable: each of them may be published or not; with keys, a retry does not publish twice.
        """
        created = time.time()
        try:
            answers = self._publish(posts, created)
        except BrokerUnavailable:
            metrics.PUBLISH_FAILURES.inc()
            raise
        metrics.PUBLISH_SECONDS.observe(time.time() - created)
        metrics.PUBLICATIONS.inc(sum(isinstance(answer, Answer) for answer in answers))
        metrics.PUBLISH_FAILURES.inc(any(isinstance(answer, BrokerUnavailable) for answer in answers))
        return answers

    def _publish(self, posts: list[Post], created: float) -> list[Answer | Problem]:
        drafts = [
            _Draft(post, post.id or id, created) for post, id in zip(posts, self.new_ids(len(posts)), strict=True)
        ]
        answers: list[Answer | Problem | None] = [None] * len(drafts)
        self._claim(drafts, answers)
        self._charge(drafts, answers)
        open_ = [index for index, answer in enumerate(answers) if answer is None]
        for index, answer in zip(open_, self._append([drafts[index] for index in open_]), strict=True):
            answers[index] = answer
        self._settle([(drafts[index], answers[index]) for index in open_])
        return [answer for answer in answers if answer is not None]

    def new_ids(self, count: int) -> list[str]:
        """Return ids for `count` notifications that will be published now."""
        # The time in an id is not later than any of its entries: those take at least the time of the clock.
        ms, random = self._clock.ms, os.urandom(10 * count)
        return [notification.new_id(ms, random[at : at + 10]) for at in range(0, len(random), 10)]

    def _claim(self, drafts: list[_Draft], answers: list[Answer | Problem | None]) -> None:
        keyed = [index for index, draft in enumerate(drafts) if draft.post.key]
        if not keyed:
            return
        claims = self._keys.claim(
            [(drafts[i].post.key, _fingerprint(drafts[i].post.body), drafts[i].id, drafts[i].created) for i in keyed]
        )
        for index, claim in zip(keyed, claims, strict=True):
            match claim.outcome:
                case "claimed":
                    # A first attempt may have been interrupted: continue it under its id.
                    is_first = claim.id == drafts[index].id
                    drafts[index] = drafts[index]._replace(id=claim.id, created=claim.created, is_first=is_first)
                case "answered":
                    answers[index] = Answer(claim.answer, replayed=True)
                case "running":
                    answers[index] = IdempotencyInFlight(retry_after=self._keys.lease)
                case _:
                    answers[index] = IdempotencyMismatch()

    def _charge(self, drafts: list[_Draft], answers: list[Answer | Problem | None]) -> None:
        """Answer the publications that their payers may not publish now."""
        claimed = [(i, draft) for i, draft in enumerate(drafts) if answers[i] is None and draft.post.payer is not None]
        if len(claimed) > 1 and _charge_together([draft.post for _, draft in claimed]):
            return
        try:
            for index, draft in claimed:
                answers[index] = self._refusal(draft.post)
        except BrokerUnavailable:
            self._release([draft for _, draft in claimed])
            raise
        refused = [draft for index, draft in claimed if answers[index] is not None]
        if refused:
            self._reject(refused)

    def _refusal(self, post: Post) -> Problem | None:
        payer = post.payer
        if payer is None:
            return None
        if not payer.may_create_topics:
            topics = [name for name in post.publication.channels if channels.topic_of(name) is not None]
            refusal = payer.refusal_of_topics(self._log.count_unknown(topics))
            if refusal:
                return refusal
        return payer.charge(_amounts([post]))

    def _append(self, drafts: list[_Draft]) -> list[Answer | Problem]:
        batches, records = [], []
        entries = [draft.post.audit(draft.id) for draft in drafts if draft.post.audit]
        for post, id, created, _ in drafts:
            publication = post.publication
            if publication.retain != "none":
                records.append((id, publication.channels))
            batches.append(_appends(post, id, created))
        try:
            results = self._log.append(batches, records, entries)
        except BrokerUnavailable:
            self._release(drafts)
            raise
        for draft, batch, appended in zip(drafts, batches, results, strict=True):
            _count_topics(draft.post, batch, appended)
        return [
            _answer(draft, batch, appended) for draft, batch, appended in zip(drafts, batches, results, strict=True)
        ]

    def _settle(self, done: list[tuple[_Draft, Answer | Problem | None]]) -> None:
        """Store the answers of publications with a key, and release the keys of those that failed, for a retry."""
        keyed = [(draft, answer) for draft, answer in done if draft.post.key]
        self._keys.answer([(draft.post.key, answer.json) for draft, answer in keyed if isinstance(answer, Answer)])
        self._release([draft for draft, answer in keyed if isinstance(answer, Problem)])

    def _reject(self, drafts: list[_Draft]) -> None:
        """Forget the keys of drafts that may not be published: those who send ever new keys would fill Redis."""
        self._release([draft for draft in drafts if not draft.is_first])
        with contextlib.suppress(BrokerUnavailable):  # the lease expires
            self._keys.forget([draft.post.key for draft in drafts if draft.post.key and draft.is_first])

    def _release(self, drafts: list[_Draft]) -> None:
        try:
            self._keys.release([draft.post.key for draft in drafts if draft.post.key])
        except BrokerUnavailable:
            return  # the lease expires


def _charge_together(posts: list[Post]) -> bool:
    """Charge for publications of one payer what charging each of them would; or charge nothing, and return False."""
    payer = posts[0].payer
    if payer is None or any(post.payer is not payer for post in posts) or not payer.may_create_topics:
        return False
    return payer.charge_all(_amounts(posts))


def _amounts(posts: list[Post]) -> Amounts:
    """Return what publications cost. The topics that they create are counted later."""
    recipients = sum([len(post.publication.channels) for post in posts])
    return Amounts(len(posts), recipients, 0, sum(map(_stored_bytes, posts)))


def _fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _stored_bytes(post: Post) -> int:
    """Return about how many bytes of Redis a publication takes: each of its channels stores the whole notification."""
    publication = post.publication
    number = len(publication.channels)
    size = number * (_HEAD + len(publication.fields)) if publication.retain != "none" else 0
    return size + (idempotency.size_of(post.key, number) if post.key else 0)


def _appends(post: Post, id: str, created: float) -> list[Append]:
    publication = post.publication
    body = publication.encode(id, created)
    kind = _KINDS[publication.retain]
    expires = 0 if publication.ttl is None else int(1000 * (created + publication.ttl))
    dedupe_key = id if post.key else ""
    names = publication.channels
    is_copy = len(names) > 1 and not all(map(channels.is_user, names))
    more = (publication.collapse_key, dedupe_key, publication.type, is_copy)
    return [Append(name, kind, body, expires, *more) for name in names]


def _answer(draft: _Draft, batch: list[Append], appended: list[Any]) -> Answer | Problem:
    for result in appended:
        if isinstance(result, Problem):
            return result
    return Answer(
        _encode(
            {
                "id": draft.id,
                "created_at": notification.rfc3339(draft.created),
                "channels": [_receipt(item, result) for item, result in zip(batch, appended, strict=True)],
            }
        )
    )


def _count_topics(post: Post, batch: list[Append], appended: list[Any]) -> None:
    if post.payer is not None:
        topics = 0
        for item, result in zip(batch, appended, strict=True):
            if isinstance(result, Appended) and result.is_new and item.channel.startswith("topic:"):
                topics += 1
        if topics:
            post.payer.created_topics(topics)


def _receipt(item: Append, result: Appended) -> dict[str, Any]:
    receipt = {"channel": tenants.public(item.channel), "cursor": result.cursor, "online": result.online}
    return receipt | {"suppressed": "muted_type"} if result.muted else receipt


_encode = msgspec.json.Encoder().encode
