"""A real service to test: gunicorn with an embedded Valkey of its own, in a temporary directory.

with Service(workers=1, heartbeat=1) as service, service.client("alice") as alice:
    service.publish({"to": {"users": ["alice"]}, "title": "Hello"})
    assert alice.receive()["notification"]["title"] == "Hello"
"""

import contextlib
import copy
import http.client
import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import jwt
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit import environment, segments
from tests.kit.forks import Forked, server_of
from tests.kit.leaks import leaks, secrets_of
from tests.kit.ports import free_port
from tests.kit.waiting import DEADLINE, eventually, next_millisecond

API_KEY = "key-of-the-tests"
TOKEN_SECRETS = ("the-first-secret-signs-and-verifies", "the-second-secret-of-a-rotation-verifies")
JSON, NDJSON, PROBLEM = "application/json", "application/x-ndjson", "application/problem+json"
_AT_ONCE = 8
_ROOT = Path(__file__).parent.parent.parent

Body = bytes | str | dict[str, Any] | list[Any] | Iterable[bytes] | None


class Answer(NamedTuple):
    """An HTTP answer. `json` is a list for newline-delimited JSON, and None for anything else than JSON."""

    status: int
    headers: http.client.HTTPMessage
    json: Any
    text: str = ""


class Service:
    """A service. The names of the settings are the fields in `notifier.settings`; None unsets one."""

    def __init__(self, **settings: object) -> None:
        self.port = free_port()
        self.tls: ssl.SSLContext | None = None
        self.api_key = API_KEY
        self.directory = Path(tempfile.mkdtemp(prefix="notifier-"))  # a short path: it holds a Unix socket
        self._log = self.directory / "service.log"
        self._environ = _environ(
            {
                "bind": f"127.0.0.1:{self.port}",
                "data_dir": self.directory,
                "workers": 2,
                "api_keys": f"tests:{API_KEY}",
                "token_secrets": ",".join(TOKEN_SECRETS),
                "drain_timeout": 1,
                "redis_timeout": 20,  # a busy machine, or a slow disk, may pause for longer than the default
                "echo": 1,
            }
            | settings
        )
        self._process: Forked | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.directory)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
            assert "Traceback" not in self.log, self.log
            assert not self.leaks(), self.log
        finally:
            shutil.rmtree(self.directory)

    @property
    def log(self) -> str:
        """The log of all starts of the service."""
        return self._log.read_text()

    def leaks(self) -> list[str]:
        """Return the secrets that the service, or its server, has logged."""
        logs = [path.read_text(errors="replace") for path in self.directory.glob("*.log")]
        return leaks("".join(logs), secrets_of(self._environ))

    @property
    def pid(self) -> int:
        """The process of gunicorn's master."""
        assert self._process, "the service does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the service and wait until it is ready. A restart keeps the port and the data."""
        with self._log.open("ab") as log:
            self._process = server_of("tests.kit.master").start(["gunicorn", "wsgi:app"], _ROOT, self._environ, log)
        try:
            eventually(self.is_ready, 3 * DEADLINE)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int:
        """End the service with SIGTERM and return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            EmbeddedValkey(self.directory).stop()  # it is still running
            raise AssertionError(f"The service does not end.\n{self.log}") from None

    def behind(self, port: int, tls: ssl.SSLContext | None = None) -> Self:
        """Return this service as its clients reach it through a proxy at another port."""
        seen = copy.copy(self)
        seen.port, seen.tls = port, tls
        return seen

    # As a publisher.

    def request(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a request. An iterable body is sent in chunks.

        What is published later has later ids, on all channels.
        """
        connection = self.dial()
        try:
            connection.request(method, path, _encode(body), dict(headers or {}))
            return _answer(connection.getresponse())
        finally:
            connection.close()
            if method == "POST" and path.startswith("/v1/notifications"):
                next_millisecond()

    def dial(self) -> http.client.HTTPConnection:
        """Return a connection for requests."""
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def metrics(self) -> str:
        """Return the metrics of all workers."""
        return self.request("GET", "/metrics", headers={"Authorization": f"Bearer {API_KEY}"}).text

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        found = re.search(rf"^{name} (\S+)$", self.metrics(), re.MULTILINE)
        assert found, f"there is no {name}"
        return float(found[1])

    def publish(self, body: Body, headers: Mapping[str, str] | None = None, key: str = API_KEY) -> Answer:
        """Publish a notification, or a list of them. Bytes and text are sent unchanged."""
        kind = NDJSON if isinstance(body, list) else JSON
        return self.request(
            "POST",
            "/v1/notifications",
            body,
            {"Authorization": f"Bearer {key}", "Content-Type": kind} | dict(headers or {}),
        )

    def recall(self, id: str, key: str = API_KEY) -> Answer:
        """Recall a notification."""
        return self.request("DELETE", f"/v1/notifications/{id}", headers={"Authorization": f"Bearer {key}"})

    def exchange(self, data: bytes, *, split: bool = False) -> Answer:
        """Send bytes, which need not be a valid request, end the writing side, and return the answer.

        With `split` they arrive in two segments.
        """
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as sock:
            segments.send(sock, data, split=split)
            sock.shutdown(socket.SHUT_WR)
            with http.client.HTTPResponse(sock, method=data.split()[0].decode(errors="replace")) as response:
                response.begin()
                return _answer(response)

    # As a subscriber.

    def token(self, user: str = "alice", topics: Iterable[str] = (), expires_in: float = 3600, **claims: object) -> str:
        """Return a user's token."""
        return self.sign({"sub": user, "exp": int(time.time() + expires_in), "topics": list(topics)} | claims)

    def sign(self, claims: dict[str, object], secret: str | None = TOKEN_SECRETS[0], algorithm: str = "HS256") -> str:
        """Return a token with these claims."""
        return jwt.encode(claims, secret, algorithm)

    def connect(self, path: str = "/v1/stream", **options: Any) -> "Client":
        """Open a WebSocket without sending a hello."""
        url = f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}{path}"
        # Unlimited queue: with a full queue the library takes 10 seconds to notice a close frame.
        usual = {"ssl": self.tls, "proxy": None, "ping_interval": None, "open_timeout": DEADLINE, "max_queue": None}
        return Client(connect(url, **usual | options))

    def client(
        self, user: str = "alice", topics: Iterable[str] = (), since: str | None = None, token: str | None = None
    ) -> "Client":
        """Open a stream, subscribe to topics, and return the client after its welcome."""
        topics = list(topics)
        client = self.connect()
        client.send("hello", token=token or self.token(user, topics), topics=topics, since=since)
        client.welcome = client.receive("welcome")
        return client

    @property
    def workers(self) -> int:
        """The number of workers."""
        return int(self._environ["NOTIFIER_WORKERS"])

    def from_each_worker(self, ask: Callable[[], Answer]) -> list[Answer]:
        """Ask until each worker has answered, and return all answers."""
        answers = self._ask_workers(ask, rounds=50)
        assert answers, "some worker has not answered"
        return answers

    def _ask_workers(self, ask: Callable[[], Answer], rounds: int) -> list[Answer]:
        """Return answers of all workers; none: some worker has not answered."""
        answers: list[Answer] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in range(rounds):
                # Connections made in sequence may all reach the worker whose core is free.
                answers += pool.map(lambda _: ask(), range(1 if self.workers == 1 else _AT_ONCE))
                if len({answer.headers["X-Request-Id"].partition("-")[0] for answer in answers}) >= self.workers:
                    return answers
        return []

    @contextlib.contextmanager
    def on_each_worker(self, user: str) -> Iterator[list["Client"]]:
        """Open a stream on each of two workers."""
        found: dict[str, Client] = {}
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in range(50):
                # Connections made in sequence may all reach the worker whose core is free.
                for client in pool.map(lambda _: self.client(user), range(_AT_ONCE)):
                    if found.setdefault(client.welcome["connection"].partition("-")[0], client) is client:
                        stack.enter_context(client)
                    else:
                        client.close()
                if len(found) == 2:
                    break
            assert len(found) == 2, "all connections came to one worker"
            yield list(found.values())

    def is_ready(self) -> bool:
        """Return whether all workers are ready."""
        return self._readiness() == {200}

    def is_unready(self) -> bool:
        """Return whether no worker is ready, and all say so."""
        return self._readiness() == {503}

    def _readiness(self) -> set[int]:
        """Return the statuses with which all workers answer; none: some worker has not answered."""
        assert self._process and self._process.poll() is None, self.log
        try:
            answers = self._ask_workers(lambda: self.request("GET", "/readyz"), rounds=2)
        except (ConnectionError, TimeoutError):
            return set()
        return {answer.status for answer in answers}


class Client:
    """A subscriber with a WebSocket library that shares no code with the service."""

    def __init__(self, socket: ClientConnection) -> None:
        self._closer = contextlib.ExitStack()
        self.socket = self._closer.enter_context(socket)
        self.welcome: dict[str, Any] = {}
        self._refs = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, type: str, **members: object) -> None:
        """Send a frame."""
        self.socket.send(json.dumps({"type": type, **members}))

    def receive(self, *types: str) -> dict[str, Any]:
        """Return the next frame of these types; without types, the next frame that is not a ping."""
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(DEADLINE))
            if frame["type"] in types or (not types and frame["type"] != "ping"):
                return frame

    def ask(self, type: str, **members: object) -> dict[str, Any]:
        """Send a frame and return its answer."""
        ref = f"r{next(self._refs)}"
        self.send(type, ref=ref, **members)
        answer = self.receive("ok", "error")
        assert answer.get("ref") == ref, answer
        return answer

    def close_code(self) -> int | None:
        """Return the code of the service's close frame, or None if the connection ends without one."""
        try:
            while True:
                self.socket.recv(DEADLINE)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    def close(self) -> None:
        """Close the connection."""
        self._closer.close()


def _environ(settings: Mapping[str, object]) -> dict[str, str]:
    given = {name: value for name, value in settings.items() if value is not None}
    return environment.basic(**{f"NOTIFIER_{name.upper()}": str(value) for name, value in given.items()})


def _encode(body: Body) -> bytes | Iterable[bytes] | None:
    if isinstance(body, dict):
        return json.dumps(body).encode()
    if isinstance(body, list):
        return b"".join(_line(item) for item in body)
    return body.encode() if isinstance(body, str) else body


def _line(item: object) -> bytes:
    return (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n"


def _answer(response: http.client.HTTPResponse) -> Answer:
    text = response.read().decode()
    assert "Traceback" not in text, text
    kind, parsed = response.headers.get_content_type(), None
    if kind == NDJSON:
        parsed = [json.loads(line) for line in text.splitlines()]
    elif text and kind in (JSON, PROBLEM):
        parsed = json.loads(text)
    return Answer(response.status, response.headers, parsed, text)
