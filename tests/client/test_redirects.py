"""Redirects of handshakes, which no client follows."""

import asyncio
import http.server
import threading
from collections.abc import Iterator

import pytest
import websockets.asyncio.client
import websockets.sync.client

from notifier.client.aio import stream as aio
from notifier.client.refused import Refused
from notifier.client.sync import stream as sync


class Redirecting(http.server.ThreadingHTTPServer):
    """A server that redirects every request to itself, and records the paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), Redirect)


class Redirect(http.server.BaseHTTPRequestHandler):
    """Answers with a redirect."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Redirecting)
        self.server.paths.append(self.path)
        self.send_response(307)
        self.send_header("Location", f"ws://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def redirecting() -> Iterator[Redirecting]:
    """A server that redirects."""
    with Redirecting() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_redirects(redirecting: Redirecting, kind: str) -> None:
    """A redirect of a handshake is an answer like others."""
    url = f"ws://127.0.0.1:{redirecting.server_port}/v1/stream"

    async def connect() -> None:
        await websockets.asyncio.client.connect(url, proxy=None, create_connection=aio.Connection)

    with pytest.raises(Refused) as refused:
        if kind == "sync":
            websockets.sync.client.connect(url, proxy=None, create_connection=sync.Connection)
        else:
            asyncio.run(connect())
    assert refused.value.response.status_code == 307
    assert redirecting.paths == ["/v1/stream"]
