"""Others: clients that do what clients do, and time it, while somebody attacks."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator

from attacks.target import OTHERS, Target
from tests.kit.service import API_KEY, Client, Service

_GIVE_UP = 20.0  # seconds: what takes longer counts as so long
_KINDS = {"deliver": 0.05, "connect": 0.07, "inbox": 0.06}  # seconds from one to the next
ENOUGH = 100  # times: a 99th percentile of fewer would be the worst of them


class Others:
    """Three clients: one publishes to itself, one connects until its welcome, one acts on its inbox by POST.

    `times` has seconds by kind.
    """

    def __init__(self, service: Service, target: Target) -> None:
        self.times: dict[str, list[float]] = {kind: [] for kind in _KINDS}
        self._service = service
        self._headers = target.headers(OTHERS)
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Go on in threads while the context lasts."""
        with self._open("deliver") as client:
            connection, other = self._service.dial(), self._service.dial()
            kinds = {
                "deliver": lambda: self._deliver(connection, client),
                "connect": lambda: self._open("connect").close(),
                "inbox": lambda: self._act(other),
            }
            threads = [threading.Thread(target=self._repeat, args=(kind, do)) for kind, do in kinds.items()]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._stopped.set()
                for thread in threads:
                    thread.join()

    def percentile(self, kind: str, part: float) -> float:
        """Return a percentile of the times of a kind, in seconds."""
        times = sorted(self.times[kind])
        return times[min(int(len(times) * part), len(times) - 1)] if times else _GIVE_UP

    def _repeat(self, kind: str, do: Callable[[], object]) -> None:
        while not self._stopped.is_set():
            begin = time.monotonic()
            try:
                do()
                self.times[kind].append(time.monotonic() - begin)
            except (OSError, EOFError, TimeoutError, http.client.HTTPException, AssertionError):
                self.times[kind].append(_GIVE_UP)
            except Exception as error:  # of the WebSocket library: a handshake that was refused
                if self._stopped.is_set():
                    return
                print(f"{kind}: {error!r}", flush=True)
                self.times[kind].append(_GIVE_UP)
            self._stopped.wait(_KINDS[kind])

    def _open(self, user: str) -> Client:
        client = self._service.connect(additional_headers=self._headers)
        client.send("hello", token=self._service.token(user))
        client.welcome = client.receive("welcome")
        return client

    def _deliver(self, connection: http.client.HTTPConnection, client: Client) -> None:
        body = json.dumps({"to": {"users": ["deliver"]}, "title": "x", "retain": "history"})
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"} | self._headers
        _ask(connection, "/v1/notifications", body, headers, 201)
        client.receive("notification")

    def _act(self, connection: http.client.HTTPConnection) -> None:
        body = json.dumps({"ids": ["01a1fd1d-8160-7ed9-9413-000000000000"]})
        token = self._service.token("inbox")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | self._headers
        _ask(connection, "/v1/inbox/read", body, headers, 200)


def _ask(connection: http.client.HTTPConnection, path: str, body: str, headers: dict[str, str], status: int) -> None:
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status, answer.status
    except BaseException:
        connection.close()
        raise
