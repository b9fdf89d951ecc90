"""A proxy between a client and a service that changes answers. It does not support upgrades."""

import http.client
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.kit.waiting import DEADLINE


class Reply(NamedTuple):
    """An answer of the service, or to the client."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def with_header(self, name: str, value: str) -> "Reply":
        """Return the answer with another value of a header."""
        return self._replace(headers={**self.headers, name: value})


Change = Callable[[int, Reply], Reply | None]  # gets the number of the request, from 1; returns None to lose the answer
PAGE = Reply(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in to the guest network</title>")


class Middle:
    """A proxy at `url`. `change` turns the service's answer into the client's."""

    def __init__(self, port: int, change: Change = lambda number, reply: reply) -> None:
        self.change = change
        self.requests = 0
        self._service = port
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Forward a request to the service, and return the answer."""
        with self._lock:
            self.requests += 1
            number = self.requests
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        reply = self.change(number, self._ask(handler, body))
        if reply is None:
            handler.close_connection = True
            return
        handler.send_response_only(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        hop_by_hop = ("connection", "upgrade", "host", "transfer-encoding")
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in hop_by_hop}
        connection = http.client.HTTPConnection("127.0.0.1", self._service, timeout=DEADLINE)
        try:
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in hop_by_hop}
            return Reply(answer.status, kept, answer.read())
        finally:
            connection.close()

    def _handler(middle) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                middle.pass_on(self)

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
