"""Owners: each acts on the inbox of one user, one action at a time, and retries until it is acknowledged.

All actions may be repeated. Because an action is acknowledged before the next one begins, their order is known.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp

from chaos.clients import Client
from chaos.cursors import cursor_of
from chaos.ledger import Ledger
from chaos.model import EFFECTS, JOIN, LEAVE, MUTE, Item, Model, Operation
from chaos.oracle import Violation
from chaos.publishers import TYPES, Publisher
from chaos.witness import Journal, LastState

_ANSWER_WITHIN = 5.0  # seconds
_GIVE_UP = 120.0  # seconds: longer than any fault, and longer than answers wait behind the backlog of a client
_LATE = 8.0  # seconds in which an attempt that is held back may still take effect
_RECENT = 12  # latest notifications per channel from which actions choose
_FUTURE = 3600_000  # ms
_TOLD_WITHIN = 8.0  # seconds within which clients must receive the last state, after all faults have ended
_LOOKS = 4  # requests for counts, each on a new connection, so that several workers answer
_PAGE = 100
_BATCH = 6  # notifications


class Owner:
    """The owner of one user's inbox. `clients` are those of the user; the user is always a member of `fixed`.

    `changes` is the share of changes to memberships and mutes among all actions; `provoked` is the share of these that
    have publications just before and just after them.
    """

    def __init__(
        self,
        user: str,
        fixed: str,
        topics: list[str],
        ledger: Ledger,
        journal: Journal,
        *,
        ports: Callable[[], list[int]],
        token: str,
        api_key: str,
        rng: random.Random,
        publisher: Publisher,
        changes: float,
        provoked: float,
    ) -> None:
        self.name = f"owner {user}"
        self.user = user
        self.fixed = fixed
        self.model = Model(user, ledger)
        self.clients: list[Client] = []
        self.complaints: list[str] = []
        self._topics = [topic for topic in topics if topic != fixed]
        self._ledger = ledger
        self._journal = journal
        self._ports = ports
        self._token = {"Authorization": f"Bearer {token}"}
        self._api_key = {"Authorization": f"Bearer {api_key}"}
        self._random = rng
        self._publisher = publisher
        self._share, self._provoked = changes, provoked
        self._batches = 0
        self._items: list[Item] = []
        self._filters_from = 0.0  # from when on a late change of memberships or mutes is not confused with a new one

    async def begin(self) -> None:
        """Join the topic that is never left."""
        await self._carry_out(Operation(JOIN, topic=self.fixed))

    async def run(self, pause: float, stopped: asyncio.Event) -> None:
        """Act until stopped, with pauses of `pause` seconds on average."""
        while not stopped.is_set():
            await asyncio.sleep(self._random.uniform(0, 2 * pause))  # the pace of the load
            operation = self._choose()
            if operation and operation.is_filter and self._random.random() < self._provoked:
                await self._surround(operation)
            elif operation:
                await self._carry_out(operation)

    async def inspect(self) -> list[Violation]:
        """Compare the inbox with the model, and clients' states with both, while nothing changes."""
        violations = [Violation("complaint", None, text, owner=self.name) for text in self.complaints]
        items = [*await self._list("all"), *await self._list("archived")]
        for kind, text, publication in self.model.faults(items):
            reached = [
                each
                for each in self.model.operations
                if publication and any(each.reaches(publication, cursor) for cursor in publication.cursors.values())
            ]
            began = reached[-1].began if reached else publication.attempts[0][0] if publication else 0.0
            until = reached[-1].acknowledged if reached else began
            violations.append(Violation(kind, None, text, "", publication, began, until, self.name))
        self._items = [] if violations else items
        return violations + await self._miscounted(items)

    async def _miscounted(self, items: list[Item]) -> list[Violation]:
        """Compare the counts with the list, and the states that clients received with both."""
        unread, unseen = (sum(not item.flags[flag] for item in items) for flag in ("read", "seen"))
        violations = []
        revision = 0
        for _ in range(_LOOKS):
            answer = await self._get("/counts")
            revision, counts = answer["revision"], answer["counts"]
            if counts != {"unread": unread, "unseen": unseen}:
                text = f"the counts are {counts}, but the list has {unread} unread and {unseen} unseen"
                violations.append(Violation("wrong counts", None, text, owner=self.name))
        return violations + await self._stale(revision, unread, unseen)

    async def end(self) -> list[Violation]:
        """Act once more: all clients must receive the state after this action."""
        publications = self._ledger.publications
        # Muted items may stay as they are.
        items = [each for each in self._items if self.model.mutes_item(publications[each.key], each.channel) is False]
        if not items:
            return []
        item = items[0]
        publication = publications[item.key]
        if not publication.id:
            return []
        action = "unread" if item.flags["read"] else "read"
        await self._carry_out(Operation(action, ids=(publication.id,)))
        item.flags.update(EFFECTS[action])
        return await self._miscounted(self._items)

    async def _stale(self, revision: int, unread: int, unseen: int) -> list[Violation]:
        """Wait until all clients have received the present state, and find those that have not."""
        end = time.monotonic() + _TOLD_WITHIN

        def waiting() -> list[Client]:
            present = [client for client in self.clients if client.is_connected and not client.is_behind]
            return [
                each for each in present if not each.last_state or each.last_state[1:] != (revision, unread, unseen)
            ]

        while waiting() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        violations = []
        for client in waiting():
            last = client.last_state or LastState(0, 0, 0, 0)
            text = f"received {last[1:]} last (revision, unread, unseen), but it is {(revision, unread, unseen)}"
            done = [each.acknowledged for each in self.model.operations]
            since = min(max([last.at, *done]), last.at + 10)
            violations.append(Violation("stale state", client, text, "", None, last.at, since, self.name))
        return violations

    def _choose(self) -> Operation | None:
        if self._random.random() < self._share and time.monotonic() > self._filters_from:
            return self._choose_filter()
        action = self._random.choice(list(EFFECTS))
        recent = self._ledger.latest_in(self.model.channels, _RECENT)
        known = [each for each in recent if self.model.has(each)]
        if not known:
            return None
        how = self._random.random()
        if how < 0.6:
            return Operation(action, ids=tuple(each.id for each in self._random.sample(known, min(len(known), 4))))
        if how < 0.85:
            return Operation(action, up_to=max(self._random.choice(known).cursors.values()))
        return Operation(action, up_to=(int(time.time() * 1000) + _FUTURE, 0))

    def _choose_filter(self) -> Operation:
        """Choose a change of memberships or mutes; most mutes are lifted soon."""
        if self._random.random() < 0.5:
            topic = self._random.choice(self._topics)
            return Operation(LEAVE if topic in self.model.topics else JOIN, topic=topic)
        if self.model.mutes and self._random.random() < 0.7:
            return Operation(MUTE)
        names = [*(f"type:{each}" for each in TYPES), *(f"topic:{each}" for each in self.model.topics)]
        return Operation(MUTE, mutes=frozenset(self._random.sample(names, self._random.randint(1, 2))))

    async def _surround(self, operation: Operation) -> None:
        """Publish what the change concerns just before it, and just after its acknowledgement."""
        changed = sorted(operation.mutes ^ self.model.mutes) or ["type:"]
        to, type = {"topics": [operation.topic or self.fixed]}, self._random.choice(TYPES)
        if operation.action == MUTE:
            kind, _, name = self._random.choice(changed).partition(":")
            to = {"topics": [name]} if kind == "topic" else self._random.choice((to, {"users": [self.user]}))
            type = name if kind == "type" and name else type
        await self._publish(to, type)
        await self._carry_out(operation)
        await self._publish(to, type)

    async def _publish(self, to: dict[str, list[str]], type: str) -> None:
        self._batches += 1
        await self._publisher.batch(to, _BATCH, type, f"{self.name}.{self._batches}")

    async def _carry_out(self, operation: Operation) -> None:
        operation.began_ms = int(time.time() * 1000)
        begun = time.monotonic()
        self.model.ask(operation, begun)
        while not operation.acknowledged:
            started = time.monotonic()
            operation.attempts.append((started, "asked"))
            way, outcome = await self._attempt(operation)
            operation.attempts[-1] = (started, outcome)
            self._journal.note(
                self.name, f"{operation}, by {way}, asked at {started - self._journal.start:.3f}: {outcome}"
            )
            if outcome == "done":
                operation.acknowledged = time.monotonic()
                break
            operation.late_until = time.monotonic() + _LATE
            if outcome.startswith("4") or time.monotonic() - begun > _GIVE_UP:
                self.complaints.append(f"{operation} was not acknowledged: {outcome}")
                return
            await asyncio.sleep(self._random.uniform(0.05, 0.3))
        if operation.is_filter:
            self._filters_from = operation.late_until
        self.model.note(operation)

    async def _attempt(self, operation: Operation) -> tuple[str, str]:
        """Return how the action was sent, and its outcome."""
        target: dict[str, Any] = {"ids": operation.ids}
        if operation.up_to:
            target = {"up_to": f"{operation.up_to[0]}-{operation.up_to[1]}"}
        present = [client for client in self.clients if client.is_connected]
        way = "HTTP"
        try:
            if present and not operation.is_filter and self._random.random() < 0.6:
                client = self._random.choice(present)
                way = client.name
                answer = await client.act(operation.action, target)
                return way, "done" if answer["type"] == "ok" else str(answer["problem"]["status"])
            return way, await self._ask(operation, target)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return way, type(error).__name__

    async def _ask(self, operation: Operation, target: dict[str, Any]) -> str:
        origin = f"http://127.0.0.1:{self._random.choice(self._ports())}"
        async with _session() as session:
            if operation.topic:
                method = "PUT" if operation.action == JOIN else "DELETE"
                url = f"{origin}/v1/topics/{operation.topic}/members/{self.user}"
                async with session.request(method, url, headers=self._api_key) as response:
                    return "done" if response.status == 204 else str(response.status)
            if operation.action == MUTE:
                mutes = {kind + "s": _names(operation.mutes, kind) for kind in ("type", "topic")}
                async with session.put(f"{origin}/v1/inbox/mutes", json=mutes, headers=self._token) as response:
                    return "done" if response.status == 200 else str(response.status)
            url = f"{origin}/v1/inbox/{operation.action}"
            async with session.post(url, json=target, headers=self._token) as response:
                await response.read()
                return "done" if response.status == 200 else str(response.status)

    async def _list(self, status: str) -> list[Item]:
        items: list[Item] = []
        before = ""
        while True:
            page = await self._get(f"?status={status}&limit={_PAGE}{before}")
            items += map(_item, page["items"])
            if page["next"] is None:
                return items
            before = f"&before={page['next']}"

    async def _get(self, path: str) -> dict[str, Any]:
        end = time.monotonic() + _GIVE_UP
        while True:
            async with _session() as session:
                url = f"http://127.0.0.1:{self._ports()[0]}/v1/inbox{path}"
                async with session.get(url, headers=self._token) as response:
                    if response.status == 200 or time.monotonic() > end:
                        answer: dict[str, Any] = await response.json()
                        return answer
            await asyncio.sleep(0.2)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_ANSWER_WITHIN), trust_env=False)


def _names(mutes: Iterable[str], kind: str) -> list[str]:
    """Return the types or the topics among mutes."""
    return sorted(name.partition(":")[2] for name in mutes if name.startswith(f"{kind}:"))


def _item(shown: dict[str, Any]) -> Item:
    flags = {name: shown[name] for name in ("seen", "read", "archived")}
    return Item(cursor_of(shown["cursor"]), shown["channel"], shown["notification"]["data"]["key"], flags)
