"""Clients that others wrote hear what is published."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import websocket

from tests.service import DEADLINE, Service

ROOT = Path(__file__).parent.parent.parent
TITLES = [f"number {number}" for number in range(50)]


def publish_all(service: Service, user: str) -> None:
    for title in TITLES:
        assert service.publish({"to": {"users": [user]}, "title": title}).status == 201


def test_websockets(service: Service, user: str) -> None:
    """The package `websockets` hears every notification, in order."""
    with service.client(user) as client:
        publish_all(service, user)
        assert [client.receive("notification")["notification"]["title"] for _ in TITLES] == TITLES


def test_websocket_client(service: Service, user: str) -> None:
    """The package `websocket-client` hears every notification, in order, authenticated by a header."""
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
    """The package `ws` of npm hears every notification, in order, with the subprotocol and without an extension."""
    client = subprocess.Popen(
        ["node", "ws_client.js", f"ws://127.0.0.1:{service.port}/v1/stream", service.token(user), str(len(TITLES))],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert client.stdout
        assert client.stdout.readline() == 'welcome notifier.v1 ""\n'
        publish_all(service, user)
        out, _ = client.communicate(timeout=DEADLINE)
        assert out.splitlines() == [*TITLES, "closed 1000"]
    finally:
        client.kill()
        client.wait()


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_browser_library() -> None:
    """The browser client passes its own tests under Node."""
    tests = sorted(str(path) for path in (ROOT / "tests/js").glob("*.test.js"))
    done = subprocess.run(["node", "--test", *tests], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
