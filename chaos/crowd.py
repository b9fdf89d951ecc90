"""The crowd of a run: its clients, browsers, and the owners of its inboxes."""

import asyncio
import itertools
import random
from collections.abc import Callable

from chaos import browsers
from chaos.browsers import Browser, Node
from chaos.clients import Client
from chaos.ledger import Ledger
from chaos.owners import Owner
from chaos.processes import Service
from chaos.proxy import Proxy
from chaos.publishers import Publisher
from chaos.scenario import Scenario
from chaos.witness import Journal

_BROWSERS = 9
_TABS = 3  # of each browser of the scenarios with tabs, and of one browser in the others
_TRANSPORTS = (["websocket"], ["sse"], ["poll"])
_OWNERS_PAUSE = 0.2  # seconds on average between two actions of a user
_BROWSERS_PAUSE = 0.4  # seconds on average between two publications of browsers
_SHORT_TOKEN = 6  # seconds
_SLOW = 1.0  # seconds by which a busy worker is late


class Crowd:
    """Everybody who uses the service; `rng` returns a generator of random numbers by name.

    A worker whose subscription is dead without an error knows of it after `deaf_for` seconds.
    """

    def __init__(
        self,
        scenario: Scenario,
        ledger: Ledger,
        journal: Journal,
        deaf_for: float,
        rng: Callable[[str], random.Random],
    ) -> None:
        self.users = [f"u{number}" for number in range(scenario.names)]
        self.topics = [f"t{number}" for number in range(scenario.names // 2)]
        self.node = Node()
        self.clients: list[Client] = []
        self.browsers: list[Browser] = []
        self.owners: list[Owner] = []
        self._scenario = scenario
        self._ledger = ledger
        self._journal = journal
        self._rng = rng
        self._tolerance = int(1000 * (deaf_for + _SLOW))  # what that worker has missed is sent to its new clients, too

    def enter(self, service: Service, proxy: Proxy, publisher: Publisher) -> None:
        """Use a service, directly or through a proxy."""
        self._service, self._proxy, self._publisher = service, proxy, publisher

    @property
    def everybody(self) -> list[Client | Browser]:
        """All clients and browsers."""
        return [*self.clients, *self.browsers]

    async def start(self, number: int) -> None:
        """Add owners, so many clients, and browsers if there is a Node."""
        if self._scenario.inbox:
            await self._add_owners()
        rng = self._rng("clients")
        for _ in range(number):
            self.add_client(rng)
        if not browsers.missing():
            await self.node.start(self._proxy.port)
            self._add_browsers(rng)

    def act(self, stopped: asyncio.Event) -> list[asyncio.Task[None]]:
        """Begin to act on inboxes, and to publish from browsers, until stopped."""
        tasks = [asyncio.create_task(owner.run(_OWNERS_PAUSE, stopped)) for owner in self.owners]
        if self.browsers:
            tasks.append(asyncio.create_task(self._publish(stopped)))
        return tasks

    async def stop(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.stop() for client in self.clients))
        await self.node.stop()

    def add_client(self, rng: random.Random) -> None:
        """Add one more client."""
        number = len(self.clients)
        user = self.users[number % len(self.users)]
        topics = rng.sample(self.topics, rng.randint(0, min(3, len(self.topics))))
        is_slow, is_direct = number % 6 == 5, number % 3 == 2
        expires_in = _SHORT_TOKEN if number % 5 == 4 else 3600
        client = Client(
            f"client {number}",
            user,
            topics,
            self._journal,
            port=self._service.port if is_slow or is_direct else self._proxy.port,
            token=lambda: self._service.token(user, topics, expires_in),
            rng=self._rng(f"client {number}"),
            receive_buffer=16384 if is_slow else 0,
        )
        self.clients.append(client)
        self._prepare(client)
        for owner in self.owners:
            if owner.user == user:
                owner.clients.append(client)
        client.start()

    def _prepare(self, witness: Client | Browser) -> None:
        witness.tolerance = self._tolerance
        for owner in self.owners:
            if owner.user == witness.user:
                witness.members, witness.mutes = owner.model.members, owner.model.muted

    def _add_browsers(self, rng: random.Random) -> None:
        """Add browsers that have a connection of their own, and some with several tabs that share one."""
        alone = 0 if self._scenario.tabs else _BROWSERS - _TABS
        for number in range(_BROWSERS):
            group = number if number < alone else alone + (number - alone) // _TABS
            user = self.users[group % len(self.users)]
            browser = Browser(
                f"browser {number}",
                user,
                rng.sample(self.topics, min(len(self.topics), 4 if self._scenario.tabs else 2)),
                self._journal,
                self.node,
                # One of its own: the requests over HTTP are recognised by their tokens.
                self._service.token(user, self.topics, publish=self.topics, jti=f"browser {number}"),
                transports=_TRANSPORTS[group % len(_TRANSPORTS)],
                group=f"group {group}",
            )
            self.browsers.append(browser)
            self._prepare(browser)
        for browser, other in itertools.product(self.browsers, repeat=2):
            if browser.group == other.group:
                browser.granted.update(other.topics)  # the connection that they share is sent these
        for browser in self.browsers:
            browser.start()

    async def _add_owners(self) -> None:
        for number, user in enumerate(self.users):
            self.owners.append(
                Owner(
                    user,
                    self.topics[number % len(self.topics)],
                    self.topics,
                    self._ledger,
                    self._journal,
                    ports=lambda: [self._service.port, self._proxy.port],
                    token=self._service.token(user),
                    api_key=self._service.api_key,
                    rng=self._rng(f"owner {user}"),
                    publisher=self._publisher,
                    changes=self._scenario.changes,
                    provoked=self._scenario.provoked,
                )
            )
        await asyncio.gather(*(owner.begin() for owner in self.owners))

    async def _publish(self, stopped: asyncio.Event) -> None:
        """Publish from browsers, also what cannot be published."""
        rng = self._rng("browsers")
        while not stopped.is_set():
            await asyncio.sleep(rng.uniform(0, 2 * _BROWSERS_PAUSE))  # the pace of the load
            rng.choice(self.browsers).publish(self._ledger, rng.choice(self.topics), rng)
        await asyncio.gather(*(browser.answered() for browser in self.browsers))
