"""Browsers: clients that run the browser library under Node."""

import asyncio
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

from chaos.cursors import cursor_of
from chaos.ledger import Ledger, Publication
from chaos.witness import Journal, Witness

_DRIVER = Path(__file__).with_name("node_client.js")
_LONGEST_LINE = 1 << 20
_BAD = ("bigint", "circular", "throws", "long")  # values that node_client.js makes
_BAD_SHARE = 0.4
_ANSWER_WITHIN = 40.0  # seconds; the library gives up after 30


def missing() -> str:
    """Return what is missing to run the browser library, or an empty string."""
    if not shutil.which("node"):
        return "node"
    return "" if (_DRIVER.parent.parent / "node_modules/ws").is_dir() else "node_modules/ws"


class Browser(Witness):
    """One client of the process: a tab, which shares its connection with those of the same `group`.

    It can do everything that `clients.Client` can, except read slowly, and it publishes.
    """

    def __init__(
        self,
        name: str,
        user: str,
        topics: list[str],
        journal: Journal,
        process: "Node",
        token: str,
        *,
        transports: list[str],
        group: str,
    ) -> None:
        super().__init__(name, user, topics, journal)
        self.group = group
        self._transports = transports
        self._published: dict[str, tuple[Ledger, Publication]] = {}  # by key, without an answer
        self._count = 0
        self._process = process
        self._token = token
        self._cursor: str | None = None
        self._wandered: set[str] = set()

    def start(self) -> None:
        """Connect, and reconnect whenever the connection ends."""
        self._process.browsers[self.name] = self
        what = {"token": self._token, "topics": self.topics, "transports": self._transports, "group": self.group}
        self._tell("start", **what)

    def cut(self) -> None:
        """Drop the socket without a closing handshake."""
        self.note("drops its socket")
        self._tell("cut")

    async def leave(self) -> None:
        """Close the connection, and stay offline until `come_back`."""
        self.note("goes offline")
        self._tell("close")

    def come_back(self) -> None:
        """Connect again."""
        self._tell("back")

    async def wander(self, topics: list[str], pause: float) -> None:
        """Unsubscribe from topics for a while, then subscribe again, once for each topic: no `ok` is visible."""
        topics = [topic for topic in topics if topic not in self._wandered]
        if self._cursor is None:
            return
        self.wanders = True
        self._wandered.update(topics)
        since = self._cursor
        self.note(f"unsubscribes from {', '.join(topics)} at {since}")
        for topic in topics:
            self._tell("leave", topic=topic)
        await asyncio.sleep(pause)
        self.note(f"subscribes to {', '.join(topics)} since {since}")
        for topic in topics:
            self._tell("join", topic=topic, since=since)

    def publish(self, ledger: Ledger, topic: str, rng: random.Random) -> None:
        """Publish to a topic; sometimes a value without JSON, or one that is too long."""
        self._count += 1
        how = rng.choice(_BAD) if rng.random() < _BAD_SHARE else "good"
        publication = Publication(f"{self.name}.{self._count}", [f"topic:{topic}"])
        publication.attempts.append((time.monotonic(), "asked" if how == "good" else how))
        ledger.publications[publication.key] = publication
        self._published[publication.key] = ledger, publication
        self.note(f"publishes {publication.key} to {topic}: {how}")
        self._tell("publish", topic=topic, key=publication.key, how=how)

    async def answered(self) -> None:
        """Wait until everything that it published was acknowledged or refused."""
        end = time.monotonic() + _ANSWER_WITHIN
        while self._published and time.monotonic() < end:
            await asyncio.sleep(0.1)
        if self._published:
            self.complain(f"{', '.join(self._published)}: neither acknowledged nor refused")

    async def stop(self) -> None:
        """Close the connection permanently."""
        self._tell("close")

    def take(self, line: dict[str, Any]) -> None:
        """Take a callback of the library."""
        details = line["details"]
        match line["event"]:
            case "notification":
                notification, circumstances = details
                self.called(circumstances["channel"], circumstances["cursor"], notification, circumstances["replay"])
            case "lost":
                self.received_lost(details[0]["channels"], self._cursor)
            case "state":
                self._enter(details[0], line)
            case "asked":
                topic, since, number = details
                for tab in self._process.tabs(self.group):
                    tab.pasts.ask(topic, cursor_of(since), time.monotonic(), number)
            case "complete":
                topic, number = details
                for tab in self._process.tabs(self.group):
                    tab.pasts.complete(topic, time.monotonic(), number)
            case "published" | "refused":
                self._take_answer(line["event"], *details)
            case "error":
                # Over HTTP, receipts are requests of their own, which fail while the service or Redis is down.
                is_down = self._transports != ["websocket"] and details[0].get("status", 0) >= 500
                (self.note if is_down else self.complain)(f"error: {details[0]}")
        self._cursor = line.get("cursor") or self._cursor

    def _take_answer(self, outcome: str, key: str, answer: dict[str, Any]) -> None:
        ledger, publication = self._published.pop(key)
        at, how = publication.attempts[0]
        is_good = how == "asked"
        publication.attempts[0] = at, outcome if is_good else how
        self.note(f"{key} is {outcome}: {answer}")
        if outcome == "published":
            channels = [{"channel": publication.channels[0], "cursor": answer["cursor"]}]
            ledger.acknowledge(publication, {"id": answer["id"], "channels": channels})
        if (outcome == "published") is not is_good and not _may_be_refused(answer):
            self.complain(f"{key}, {how}, was {outcome}: {answer}")

    def _enter(self, state: dict[str, Any], line: dict[str, Any]) -> None:
        reason = state.get("reason") or ""
        self.note(f"{state['current']} {line.get('connection', '')} {reason} at cursor {line.get('cursor')}")
        if state["current"] == "connected":
            self.welcomed(line["cursor"], self.topics)
        self.is_connected = state["current"] == "connected"
        if state["current"] == "closed":
            self.complain(f"closed permanently: {reason}")

    def _tell(self, do: str, **members: object) -> None:
        self._process.tell({"do": do, "client": self.name, **members})


def _may_be_refused(answer: dict[str, Any]) -> bool:
    """Return whether a good publication may be refused like this.

    The service is down, its answer did not come, or it still works on the publication when that is sent once more.
    """
    return answer.get("code") in ("timeout", "idempotency_in_flight") or answer.get("status", 0) >= 500


class Node:
    """The Node process that runs all browsers."""

    def __init__(self) -> None:
        self.browsers: dict[str, Browser] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Start the process; its browsers connect to this port."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "node", str(_DRIVER), f"ws://127.0.0.1:{port}/v1/stream", stdin=pipe, stdout=pipe, limit=_LONGEST_LINE
        )
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def publish(self, ledger: Ledger, topic: str, rng: random.Random) -> None:
        """Publish to a topic; sometimes a value without JSON, or one that is too long."""
        self._count += 1
        how = rng.choice(_BAD) if rng.random() < _BAD_SHARE else "good"
        publication = Publication(f"{self.name}.{self._count}", [f"topic:{topic}"])
        publication.attempts.append((time.monotonic(), "asked" if how == "good" else how))
        ledger.publications[publication.key] = publication
        self._published[publication.key] = ledger, publication
        self.note(f"publishes {publication.key} to {topic}: {how}")
        self._tell("publish", topic=topic, key=publication.key, how=how)

    async def answered(self) -> None:
        """Wait until everything that it published was acknowledged or refused."""
        end = time.monotonic() + _ANSWER_WITHIN
        while self._published and time.monotonic() < end:
            await asyncio.sleep(0.1)
        if self._published:
            self.complain(f"{', '.join(self._published)}: neither acknowledged nor refused")

    def tabs(self, group: str) -> list[Browser]:
        """Return the browsers of a group."""
        return [browser for browser in self.browsers.values() if browser.group == group]

    async def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._reading:
            await asyncio.gather(self._reading, return_exceptions=True)

    def tell(self, command: dict[str, object]) -> None:
        """Send a command."""
        assert self._process and self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process and self._process.stdout
        async for text in self._process.stdout:
            line = json.loads(text)
            self.browsers[line["client"]].take(line)
        for browser in self.browsers.values():
            browser.is_connected = False
