"""The arena: one run with all its processes, clients, publishers and faults."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self

from chaos import oracle
from chaos.browsers import Browser
from chaos.clients import Client
from chaos.crowd import Crowd
from chaos.ledger import Ledger
from chaos.oracle import Violation
from chaos.processes import Service, Valkey
from chaos.proxy import Proxy
from chaos.publishers import Publisher
from chaos.scenario import Fault, Scenario
from chaos.witness import Journal

_WORKERS = 3
_BACKENDS = 8  # concurrent publishers
_CONNECT_WITHIN = 25.0  # seconds after all faults have ended
_ARRIVE_WITHIN = 10.0  # seconds from one notification to the next, after all clients have connected
_SETTLE_WITHIN = 300.0  # seconds: slow readers have a long backlog
_SETTINGS = {
    "workers": _WORKERS,
    "broker_heartbeat": 0.5,
    "broker_deadline": 2,
    "redis_timeout": 2,
    "heartbeat": 2,
    "hello_timeout": 4,
    "attach_timeout": 4,
    "lag_timeout": 5,
    "drain_timeout": 2,
    "idempotency_lease": 1,
    "expiry_notice": 3,
    "max_history": 100_000,
    "send_buffer_bytes": 8192,
    "max_backlog_bytes": 16384,
}
_RECENT = (
    0,
    20_000,
    4_194_304,
)  # bytes, chosen by the seed: clients are replayed from the log, or from memory


class Arena:
    """One run: `async with Arena(...) as arena: await arena.run()`."""

    def __init__(self, scenario: Scenario, seed: int, seconds: float, clients: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self._settings = _SETTINGS | {"recent_bytes": _RECENT[seed % len(_RECENT)]} | scenario.settings
        self.seconds = seconds
        self.journal = Journal()
        self.ledger = Ledger()
        self.valkey = Valkey(scenario.appendfsync)
        rng = self._rng("proxies")
        self.broker_proxy = Proxy(self.valkey.dial, rng)
        self.client_proxy = Proxy(self._dial_service, rng)
        deaf_for = sum(float(str(self._settings[name])) for name in ("broker_deadline", "broker_heartbeat"))
        self.crowd = Crowd(scenario, self.ledger, self.journal, deaf_for, self._rng)
        self.away: set[Client | Browser] = set()
        self.struck: Counter[str] = Counter()
        self.tracebacks = 0
        self.lost_bytes = 0
        self._number = clients
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[str] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.crowd.stop()
        await self.client_proxy.stop()
        try:
            if hasattr(self, "service"):
                self.valkey.thaw()
                self.broker_proxy.heal()
                self.log = self.service.log
                await asyncio.to_thread(self.service.remove)
        finally:
            await self.broker_proxy.stop()
            self.valkey.remove()

    async def run(self) -> list[Violation]:
        """Publish and inject faults, wait until everything has been delivered, and return all violations."""
        self.ends = time.monotonic() + self.seconds
        backends = [asyncio.create_task(self.publisher.run(number, self.scenario.pause)) for number in range(_BACKENDS)]
        self._tasks.update(backends)
        stopped = asyncio.Event()
        users = self.crowd.act(stopped)
        self._tasks.update(users)
        lanes = [self._lane(number, lane) for number, lane in enumerate(self.scenario.lanes)]
        await asyncio.gather(*lanes)
        await asyncio.gather(*self._tasks.difference(backends, users))
        self.journal.note("run", "all faults have ended")
        self.publisher.stopped.set()
        stopped.set()
        await asyncio.gather(*backends, *users)
        await self._settle()
        await asyncio.sleep(max(self.ledger.all_expire_at() - time.monotonic(), 0))
        inspected = await self._inspect()
        self.tracebacks = self.service.tracebacks()
        return [
            *(Violation("run", None, text) for text in (*self._failures, *self.ledger.complaints)),
            *oracle.judge(self.ledger, self.crowd.everybody, int(str(self._settings["max_history"]))),
            *(violation for violations in inspected for violation in violations),
        ]

    # Methods for faults.

    def strike(self, fault: str, what: str = "") -> int:
        """Record a fault, and return how many of its kind there have been."""
        self.struck[fault] += 1
        self.journal.note(fault, what or fault.replace("_", " "))
        return self.struck[fault]

    def some(self, rng: random.Random) -> list[Client | Browser]:
        """Return some clients that are not offline."""
        present = [client for client in self.crowd.everybody if client not in self.away]
        return rng.sample(present, rng.randint(1, max(len(present) // 3, 1)))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something concurrently with the faults; the run waits for it."""
        self._tasks.add(asyncio.create_task(work))

    def seconds_left(self) -> float:
        """Return the seconds until the last fault."""
        return max(self.ends - time.monotonic(), 0)

    # The run.

    async def _start(self) -> None:
        await self.valkey.start()
        await self.broker_proxy.start()
        url = f"redis://127.0.0.1:{self.broker_proxy.port}"
        self.service = Service(**(self._settings | {"redis_url": url}))
        await asyncio.to_thread(self.service.start)
        await self.client_proxy.start()
        self.publisher = Publisher(
            self.ledger,
            port=self.service.port,
            api_key=self.service.api_key,
            users=self.crowd.users,
            topics=self.crowd.topics,
            seed=self.seed,
            inbox=self.scenario.inbox,
        )
        self.crowd.enter(self.service, self.client_proxy, self.publisher)
        await self.crowd.start(self._number)
        await self._until(self._all_connected, _CONNECT_WITHIN, "not all clients could connect at first")

    async def _lane(self, number: int, faults: tuple[Fault, ...]) -> None:
        """Inject one fault after another, all equally often."""
        rng = self._rng(f"lane {number}")
        deck: list[Fault] = []
        while self.seconds_left():
            await asyncio.sleep(min(rng.uniform(0.2, 2), self.seconds_left()))
            deck = deck or rng.sample(faults, len(faults))
            fault = deck.pop()
            try:
                await fault(self, rng)
            except Exception as error:
                # A fault that fails is a finding: the service does not stop, or does not start.
                self._failures.append(f"{fault.__name__}: {type(error).__name__}: {str(error)[:2000]}")

    async def _settle(self) -> None:
        """Wait until all clients are connected, and then until all have received what they are entitled to."""
        self.broker_proxy.heal()
        for link in self.broker_proxy.links:
            link.swallow, link.most = 0, math.inf
        if not await self._until(self._all_connected, _CONNECT_WITHIN, "not all clients reconnected"):
            return
        await self.publisher.burst({"all": True}, 1, 40, "sentinel")
        if self.scenario.follow_up:
            await self.publisher.burst({"users": self.crowd.users, "topics": self.crowd.topics}, 1, 40, "follow-up")
        outstanding = []
        for witness in self.crowd.everybody:
            outstanding.append(oracle.Outstanding(self.ledger, witness))
            await asyncio.sleep(0)  # this takes a while after a long run; meanwhile all connections are served
        end = time.monotonic() + _SETTLE_WITHIN
        while outstanding := [each for each in outstanding if not each.is_settled()]:
            if not await self._until(lambda: any(each.gains() for each in outstanding), _ARRIVE_WITHIN):
                return
            if time.monotonic() > end:
                await self._until(lambda: all(each.gains() for each in outstanding), _ARRIVE_WITHIN)
                for each in outstanding:
                    each.witness.is_behind = each.gains()
                return

    async def _inspect(self) -> list[list[Violation]]:
        """Compare all inboxes with the model, and again after a last action that no worker received from Valkey."""
        if not self.crowd.owners:
            return []
        inspected = await asyncio.gather(*(owner.inspect() for owner in self.crowd.owners))
        self.journal.note("run", "Valkey closes all subscribers")
        await self.valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        return inspected + await asyncio.gather(*(owner.end() for owner in self.crowd.owners))

    def _all_connected(self) -> bool:
        return all(client.is_connected for client in self.crowd.everybody)

    async def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str = "") -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                absent = [each.name for each in self.crowd.everybody if not each.is_connected]
                if otherwise:
                    self._failures.append(f"{otherwise}: {', '.join(absent)}")
                return False
            await asyncio.sleep(0.1)
        return True

    async def _dial_service(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.service.port)

    def _rng(self, whose: str) -> random.Random:
        return random.Random(f"{self.seed} {whose}")
