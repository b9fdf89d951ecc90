"""A worker that ends: what keeps it, and what it tells those who come too late."""

import contextlib
import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
from websockets.exceptions import ConnectionClosed

from notifier.app import create_app
from notifier.settings import ApiKey, Settings
from tests.service import API_KEY, DEADLINE, TOKEN_SECRETS, Service


def test_idle_connections() -> None:
    """A connection that asks for nothing does not keep a worker until gunicorn kills it; a proxy has many of them."""
    with Service(workers=1) as service:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)) as idle:
            idle.request("GET", "/healthz")
            assert idle.getresponse().read()
            assert service.stop() == 0
            assert idle.sock.recv(1) == b""
        assert "Worker exiting" in service.log


def test_latecomers(user: str) -> None:
    """Who comes to a worker that ends is not told that the service is overloaded: that keeps them away longer."""
    keys = (ApiKey("tests", API_KEY),)
    app = create_app(Settings(redis_url="redis://127.0.0.1", api_keys=keys, token_secrets=TOKEN_SECRETS))
    app.extensions["notifier"].drain()
    bearer = {"Authorization": "Bearer " + jwt.encode({"sub": user, "exp": time.time() + 60}, TOKEN_SECRETS[0])}
    client = app.test_client()
    poll = client.get("/v1/stream", headers=bearer)
    assert (poll.status_code, poll.json["code"], poll.headers["Retry-After"]) == (503, "restarting", "1")
    events = client.get("/v1/stream", headers=bearer | {"Accept": "text/event-stream"})
    assert events.status_code == 200
    assert '"code":1012' in events.text


def test_newcomers() -> None:
    """Over a reload nobody is refused: a worker that ends serves newcomers, and sends them away with the others."""
    with Service(workers=1) as service, service.client("first") as first, ThreadPoolExecutor() as pool:
        sent_away = pool.submit(first.close_code)
        os.kill(service.pid, signal.SIGHUP)
        while not sent_away.done():
            with service.connect() as newcomer:
                try:
                    newcomer.send("hello", token=service.token("newcomer"))
                    newcomer.receive("welcome")
                except ConnectionClosed as closed:
                    assert closed.rcvd
                    assert closed.rcvd.code == 1012
        assert sent_away.result() == 1012


def test_ctrl_c(user: str) -> None:
    """A terminal sends SIGINT to master and workers alike: all connections are told that the service ends."""
    with Service(drain_timeout=2) as service:
        clients = [service.client(f"{user}-{number}") for number in range(12)]
        os.killpg(service.pid, signal.SIGINT)
        assert [client.close_code() for client in clients] == [1012] * 12
        for client in clients:
            client.close()
