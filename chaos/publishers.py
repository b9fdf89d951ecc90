"""Publishers: they retry until they are acknowledged, and the ledger records the answers."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from chaos.witness import Cursor, cursor_of

_ANSWER_WITHIN = 5.0  # seconds
_GIVE_UP = 40.0  # seconds: longer than any fault


@dataclass
class Publication:
    """One notification as its publisher sent it. `cursors` (by channel) is set when it is acknowledged."""

    key: str
    channels: list[str]
    retained: bool = True
    for_inbox: bool = False
    collapse_key: str = ""
    ttl: int = 0  # seconds; 0: it does not expire
    recall_asked: float = 0.0
    recalled: float = 0.0
    attempts: list[tuple[float, str]] = field(default_factory=list)  # time and outcome
    acknowledged: float = 0.0
    id: str = ""
    cursors: dict[str, Cursor] = field(default_factory=dict)

    def attempts_began_before(self, at: float) -> bool:
        """Return whether it was posted before a time."""
        return bool(self.attempts) and self.attempts[0][0] < at

    @property
    def is_durable(self) -> bool:
        """Whether offline clients must receive it later: nothing removes it from the log."""
        return self.retained and not (self.collapse_key or self.ttl or self.recall_asked)


class Ledger:
    """All publications by their keys."""

    def __init__(self) -> None:
        self.publications: dict[str, Publication] = {}
        self.complaints: list[str] = []
        self._in: dict[str, list[Publication]] = defaultdict(list)  # by channel, acknowledged
        self._latest: dict[tuple[str, str], Cursor] = {}  # by channel and collapse key

    def acknowledged_in(self, channels: Iterable[str]) -> list[Publication]:
        """Return the publications to some channels that were answered with 201, each once."""
        return list({each.key: each for channel in channels for each in self._in[channel]}.values())

    def latest_in(self, channels: Iterable[str], count: int) -> list[Publication]:
        """Return the latest `count` of them on each channel, each once."""
        return list({each.key: each for channel in channels for each in self._in[channel][-count:]}.values())

    def is_replaced(self, publication: Publication, channel: str) -> bool:
        """Return whether another one with the same collapse key followed it on the channel."""
        latest = self._latest.get((channel, publication.collapse_key), (0, 0))
        return bool(publication.collapse_key) and latest > publication.cursors[channel]

    def all_expire_at(self) -> float:
        """Return when the last one with a ttl has certainly expired."""
        mortal = [each for each in self.publications.values() if each.ttl]
        ends = ((each.acknowledged or each.attempts[-1][0] + _ANSWER_WITHIN) + each.ttl for each in mortal)
        return max(ends, default=0.0) + 0.5

    def acknowledged(self) -> list[Publication]:
        """Return the publications that were answered with 201."""
        return [each for each in self.publications.values() if each.acknowledged]

    def acknowledge(self, publication: Publication, answer: dict[str, Any]) -> None:
        """Record an answer. A retry must get the same answer."""
        cursors = {each["channel"]: cursor_of(each["cursor"]) for each in answer["channels"]}
        if publication.acknowledged and (publication.id, publication.cursors) != (answer["id"], cursors):
            self.complaints.append(f"{publication.key} was acknowledged twice, differently")
        if set(cursors) != set(publication.channels):
            self.complaints.append(f"{publication.key} went to {sorted(cursors)}, not to {publication.channels}")
        if not publication.acknowledged:
            publication.acknowledged = time.monotonic()
            for channel, cursor in cursors.items():
                self._in[channel].append(publication)
                place = (channel, publication.collapse_key)
                self._latest[place] = max(cursor, self._latest.get(place, cursor))
        publication.id, publication.cursors = answer["id"], cursors


class Publisher:
    """Publishes during the run. Each caller of `run` is a backend that sends one request at a time."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        port: int,
        api_key: str,
        users: list[str],
        topics: list[str],
        seed: int,
        inbox: bool = False,
    ) -> None:
        self.ledger = ledger
        self._inbox = inbox
        self.stopped = asyncio.Event()
        self._url = f"http://127.0.0.1:{port}/v1/notifications"
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._users, self._topics = users, topics
        self._seed = seed

    async def run(self, number: int, pause: float) -> None:
        """Publish with numbered keys until stopped, with pauses of `pause` seconds on average."""
        rng = random.Random(f"{self._seed} publisher {number}")
        keys = (f"{number}.{count}" for count in range(1_000_000))
        async with self._session() as session:
            while not self.stopped.is_set():
                await asyncio.sleep(rng.uniform(0, 2 * pause))  # the pace of the load
                count = rng.randint(2, 20) if rng.random() < 0.1 else 1
                drafts = [_draft(next(keys), self._address(rng), rng) for _ in range(count)]
                keyed = rng.random() < 0.8
                if self._inbox:
                    for draft in drafts:
                        _make_item(draft, rng, keyed)
                await self._publish(session, drafts, rng, keyed)
                if self._inbox and rng.random() < 0.1:
                    await self._recall(session, drafts[0].publication, rng)

    async def burst(self, to: dict[str, Any], count: int, size: int, name: str) -> None:
        """Publish many at once."""
        async with self._session() as session:
            rng = random.Random(f"{self._seed} {name}")
            drafts = [_draft(f"{name}.{number}", to, rng, size) for number in range(count)]
            await self._publish(session, drafts, rng, keyed=True)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._authorization, timeout=aiohttp.ClientTimeout(_ANSWER_WITHIN), trust_env=False
        )

    def _address(self, rng: random.Random) -> dict[str, Any]:
        kind = rng.random()
        if kind < 0.45:
            return {"users": [rng.choice(self._users)]}
        if kind < 0.60:
            return {"users": rng.sample(self._users, min(3, len(self._users)))}
        if kind < 0.85:
            return {"topics": [rng.choice(self._topics)]}
        if kind < 0.95:
            return {"users": [rng.choice(self._users)], "topics": rng.sample(self._topics, min(2, len(self._topics)))}
        return {"all": True}

    async def _publish(
        self, session: aiohttp.ClientSession, drafts: list["_Draft"], rng: random.Random, keyed: bool
    ) -> None:
        publications = [draft.publication for draft in drafts]
        for publication in publications:
            self.ledger.publications[publication.key] = publication
        headers = {"Content-Type": "application/json" if len(drafts) == 1 else "application/x-ndjson"}
        if keyed:
            headers["Idempotency-Key"] = publications[0].key
        body = b"".join(draft.line for draft in drafts)
        begun = time.monotonic()
        while not all(publication.acknowledged for publication in publications):
            started = time.monotonic()
            for publication in publications:
                publication.attempts.append((started, "asked"))
            outcome = await self._attempt(session, publications, body, headers)
            for publication in publications:
                publication.attempts[-1] = (started, outcome)
            if not keyed:
                return  # without a key, a retry might publish it twice
            if time.monotonic() - begun > _GIVE_UP:
                self.ledger.complaints.append(f"{publications[0].key} was not acknowledged in {_GIVE_UP} s: {outcome}")
                return
            if outcome != "201":
                await asyncio.sleep(rng.uniform(0.05, 0.3))  # shorter than the service asks for

    async def _recall(self, session: aiohttp.ClientSession, publication: Publication, rng: random.Random) -> None:
        """Recall a publication, if it was acknowledged."""
        if not publication.acknowledged:
            return
        begun = publication.recall_asked = time.monotonic()
        while not publication.recalled:
            try:
                async with session.delete(f"{self._url}/{publication.id}") as response:
                    status = response.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            if status in (204, 404):  # a retry may find that the first request has recalled it
                publication.recalled = time.monotonic()
            elif time.monotonic() - begun > _GIVE_UP or 0 < status < 500:
                self.ledger.complaints.append(f"the recall of {publication.key} was answered with {status}")
                return
            else:
                await asyncio.sleep(rng.uniform(0.05, 0.3))

    async def _attempt(
        self, session: aiohttp.ClientSession, publications: list[Publication], body: bytes, headers: dict[str, str]
    ) -> str:
        try:
            async with session.post(self._url, data=body, headers=headers) as response:
                status, text = response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return type(error).__name__
        if len(publications) == 1:
            answers: Iterator[dict[str, Any]] = iter([{"status": status} | json.loads(text)] if text else [])
        else:
            answers = (json.loads(line) for line in text.splitlines()) if status == 200 else iter(())
        statuses = {status} if len(publications) == 1 or status != 200 else set()
        for publication, answer in zip(publications, answers, strict=False):
            statuses.add(answer["status"])
            if answer["status"] == 201:
                self.ledger.acknowledge(publication, answer)
        self.ledger.complaints += [
            f"{publications[0].key} was answered with {each}: {text[:200]!r}"
            for each in statuses
            if each < 500 and each not in (200, 201, 409)
        ]
        return ", ".join(map(str, sorted(statuses)))


@dataclass
class _Draft:
    publication: Publication
    body: dict[str, Any]

    @property
    def line(self) -> bytes:
        return json.dumps(self.body).encode() + b"\n"


def _draft(key: str, to: dict[str, Any], rng: random.Random, size: int = 0) -> _Draft:
    retained = rng.random() > 0.05 or size > 0
    size = size or (2000 if rng.random() < 0.05 else 40)
    body = {"to": to, "data": {"key": key}, "body": "x" * size, "retain": "history" if retained else "none"}
    channels = [f"user:{user}" for user in to.get("users", ())]
    channels += [f"topic:{topic}" for topic in to.get("topics", ())]
    channels += ["all"] if to.get("all") else []
    return _Draft(Publication(key, channels, retained), body)


def _make_item(draft: _Draft, rng: random.Random, keyed: bool) -> None:
    """Turn most drafts into items of inboxes, some of which are replaced by others, or expire."""
    publication, body = draft.publication, draft.body
    kind = rng.random()
    if not publication.retained or kind < 0.3:
        return
    publication.for_inbox, body["retain"] = True, "inbox"
    if kind < 0.4 and keyed:  # without a key, it would be unknown whether a failed publication has replaced another
        publication.collapse_key = body["collapse_key"] = rng.choice("abc")
    elif kind < 0.45:
        publication.ttl = body["ttl"] = rng.randint(1, 3)
