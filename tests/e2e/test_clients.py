"""Clients of other authors receive notifications."""

import asyncio
import itertools
import json
import shutil
import subprocess
from pathlib import Path

import aiohttp
import pytest
import websocket

from tests.kit import processes
from tests.kit.service import Service
from tests.kit.waiting import DEADLINE

ROOT = Path(__file__).parent.parent.parent
KIT = ROOT / "tests/kit"
TITLES = [f"number {number}" for number in range(50)]


def publish_all(service: Service, user: str) -> None:
    for title in TITLES:
        # Not for the inbox, so that no state frames come between.
        assert service.publish({"to": {"users": [user]}, "title": title, "retain": "history"}).status == 201


def test_websockets(service: Service, user: str) -> None:
    """The package `websockets` receives every notification, in order."""
    with service.client(user) as client:
        publish_all(service, user)
        assert [client.receive("notification")["notification"]["title"] for _ in TITLES] == TITLES


def test_websocket_client(service: Service, user: str) -> None:
    """The package `websocket-client` receives every notification, in order, authenticated by a header."""
    link = websocket.create_connection(
        f"ws://127.0.0.1:{service.port}/v1/stream",
        timeout=DEADLINE,
        header=[f"Authorization: Bearer {service.token(user)}"],
        subprotocols=["notifier.v1"],
    )
    try:
        link.send(json.dumps({"type": "hello"}))
        assert json.loads(link.recv())["type"] == "welcome"
        publish_all(service, user)
        assert [json.loads(link.recv())["notification"]["title"] for _ in TITLES] == TITLES
    finally:
        link.close()


@pytest.mark.skipif(
    not (shutil.which("node") and (ROOT / "node_modules/ws").exists()), reason="needs node, and ws from npm"
)
def test_ws(service: Service, user: str) -> None:
    """The npm package `ws` receives every notification, in order, with the subprotocol and without extensions."""
    client = processes.start(
        ["node", "ws_client.js", f"ws://127.0.0.1:{service.port}/v1/stream", service.token(user), str(len(TITLES))],
        cwd=KIT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout
    assert client.stdout.readline() == 'welcome notifier.v1 ""\n'
    publish_all(service, user)
    out, _ = client.communicate(timeout=DEADLINE)
    assert out.splitlines() == [*TITLES, "closed 1000"]


def run_command(service: Service, user: str, *command: str) -> list[str]:
    """Publish when a command has printed its welcome, and return the lines that it prints."""
    client = processes.start(command, cwd=KIT, stdout=subprocess.PIPE, text=True)
    assert client.stdout
    while "welcome" not in client.stdout.readline():
        assert client.poll() is None
    publish_all(service, user)
    return list(itertools.islice((line.rstrip() for line in client.stdout if line.rstrip()), 2 * len(TITLES)))


@pytest.mark.skipif(
    not (shutil.which("node") and (ROOT / "node_modules/eventsource").exists()),
    reason="needs node, and eventsource from npm",
)
def test_eventsource(service: Service, user: str) -> None:
    """The npm package `eventsource` receives every notification, in order, each with its cursor as the id."""
    url, token = f"http://127.0.0.1:{service.port}/v1/stream", service.token(user)
    assert run_command(service, user, "node", "eventsource_client.js", url, token, str(len(TITLES))) == TITLES


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_curl(service: Service, user: str) -> None:
    """`curl -N` prints every event."""
    url, token = f"http://127.0.0.1:{service.port}/v1/stream", service.token(user)
    headers = ("-H", "Accept: text/event-stream", "-H", f"Authorization: Bearer {token}")
    lines = run_command(service, user, "curl", "-sN", url, *headers)
    frames = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [frame["notification"]["title"] for frame in frames] == TITLES
    assert [line for line in lines if line.startswith("id: ")] == [f"id: {frame['cursor']}" for frame in frames]


def test_aiohttp(service: Service, user: str) -> None:
    """`aiohttp` receives every notification, in order, on a WebSocket and as the lines of an event stream."""
    asyncio.run(asyncio.wait_for(hear_with_aiohttp(service, user), 2 * DEADLINE))


async def hear_with_aiohttp(service: Service, user: str) -> None:
    url = f"http://127.0.0.1:{service.port}/v1/stream"
    headers = {"Authorization": f"Bearer {service.token(user)}"}
    events = headers | {"Accept": "text/event-stream"}
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url, headers=headers) as link,
        client.get(url, headers=events) as response,
    ):
        await link.send_json({"type": "hello"})
        assert (await link.receive_json())["type"] == "welcome"
        lines = (line.removeprefix(b"data: ") async for line in response.content if line.startswith(b"data: "))
        assert json.loads(await anext(lines))["type"] == "welcome"
        await asyncio.to_thread(publish_all, service, user)
        assert [(await link.receive_json())["notification"]["title"] for _ in TITLES] == TITLES
        assert [json.loads(await anext(lines))["notification"]["title"] for _ in TITLES] == TITLES
