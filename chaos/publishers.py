"""Publishers: they retry until they are acknowledged, and the ledger records the answers."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from chaos.ledger import ANSWER_WITHIN, Ledger, Publication

TYPES = ("order.shipped", "order.paid", "chat.said")  # of items
_SMALL = 40  # bytes
_GIVE_UP = 40.0  # seconds: longer than any fault


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
        await self.alternate([to], count, name, size)

    async def alternate(self, to: list[dict[str, Any]], count: int, name: str, size: int = _SMALL) -> None:
        """Publish many at once, to several recipients by turns."""
        async with self._session() as session:
            rng = random.Random(f"{self._seed} {name}")
            drafts = [_draft(f"{name}.{number}", to[number % len(to)], rng, size) for number in range(count)]
            await self._publish(session, drafts, rng, keyed=True)

    async def batch(self, to: dict[str, Any], count: int, type: str, name: str) -> None:
        """Publish items of inboxes at once."""
        async with self._session() as session:
            rng = random.Random(f"{self._seed} {name}")
            drafts = [_draft(f"{name}.{number}", to, rng, _SMALL) for number in range(count)]
            for draft in drafts:
                _put_into_inboxes(draft, type)
            await self._publish(session, drafts, rng, keyed=True)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._authorization, timeout=aiohttp.ClientTimeout(ANSWER_WITHIN), trust_env=False
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
    size = size or (2000 if rng.random() < 0.05 else _SMALL)
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
    _put_into_inboxes(draft, rng.choice(TYPES))
    if kind < 0.4 and keyed:  # without a key, it would be unknown whether a failed publication has replaced another
        publication.collapse_key = body["collapse_key"] = rng.choice("abc")
    elif kind < 0.45:
        publication.ttl = body["ttl"] = rng.randint(1, 3)


def _put_into_inboxes(draft: _Draft, type: str) -> None:
    draft.publication.for_inbox, draft.body["retain"] = True, "inbox"
    draft.publication.type = draft.body["type"] = type
