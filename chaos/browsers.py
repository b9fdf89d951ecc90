"""Browsers: clients that run the browser library under Node."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from chaos.witness import Journal, Witness

_DRIVER = Path(__file__).with_name("node_client.js")
_LONGEST_LINE = 1 << 20


def missing() -> str:
    """Return what is missing to run the browser library, or an empty string."""
    if not shutil.which("node"):
        return "node"
    return "" if (_DRIVER.parent.parent / "node_modules/ws").is_dir() else "node_modules/ws"


class Browser(Witness):
    """One client of the process. It can do everything that `clients.Client` can, except read slowly."""

    def __init__(self, name: str, user: str, topics: list[str], journal: Journal, process: "Node", token: str) -> None:
        super().__init__(name, user, topics, journal)
        self._process = process
        self._token = token
        self._cursor: str | None = None
        self._wandered: set[str] = set()

    def start(self) -> None:
        """Connect, and reconnect whenever the connection ends."""
        self._process.browsers[self.name] = self
        self._tell("start", token=self._token, topics=self.topics)

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
            case "error":
                self.complain(f"error: {details[0]}")
        self._cursor = line.get("cursor") or self._cursor

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
