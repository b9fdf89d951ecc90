"""A stopping worker, its idle connections, and clients that connect too late."""

import contextlib
import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from websockets.exceptions import ConnectionClosed

from notifier.connections import acceptor
from tests.kit import raw
from tests.kit.service import Service
from tests.kit.waiting import DEADLINE, eventually


def test_idle_connections() -> None:
    """Idle keep-alive connections, of which a proxy has many, do not delay the end of a worker."""
    with Service(workers=1) as service:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)) as idle:
            idle.request("GET", "/healthz")
            assert idle.getresponse().read()
            assert service.stop() == 0
            assert idle.sock.recv(1) == b""
        assert "Worker exiting" in service.log


def test_latecomers(user: str) -> None:
    """A client that requests a stream from a draining worker is disconnected like the others, not rejected."""
    eventually(lambda: request_late(user))


def request_late(user: str) -> bool:
    """Request streams of all kinds from a draining worker, and check the answers.

    Returns False if this machine was too slow: the worker waits two seconds for its last clients, and then ends.
    """
    websocket = raw.HANDSHAKE
    events, poll = {"Accept": "text/event-stream"}, {"Accept": "application/json"}
    with Service(workers=1) as service, contextlib.ExitStack() as stack:
        authorized = {"Authorization": f"Bearer {service.token(user)}"}
        witness = stack.enter_context(raw.Peer(service.port, "/v1/stream", authorized))
        kept = [stack.enter_context(contextlib.closing(service.dial())) for _ in range(3)]
        for connection in kept:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        begin = time.monotonic()
        os.kill(service.pid, signal.SIGTERM)
        assert witness.read().close_code == 1012  # the worker now waits for the other half of the closing handshake
        try:
            for connection, headers in zip(kept, (websocket, events, poll), strict=True):
                connection.auto_open = 0  # a new connection would come to no worker
                connection.request("GET", "/v1/stream", headers=authorized | headers)
            answers = [connection.getresponse() for connection in kept]
        except (OSError, http.client.HTTPException):
            assert time.monotonic() - begin > acceptor._LAST_WORDS, "the worker was still draining"
            return False
        assert [answer.status for answer in answers] == [101, 200, 200]
        assert b"\x03\xf4" in answers[0].fp.read()
        assert all(b'"code":1012' in answer.read() for answer in answers[1:])
        return True


def test_newcomers() -> None:
    """During a reload no client is rejected: a stopping worker serves new clients, and disconnects them like others."""
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
    """SIGINT to master and workers, as from a terminal, closes all connections with 1012."""
    with Service(drain_timeout=30) as service:  # gunicorn kills a worker that has not ended eight seconds later
        clients = [service.client(f"{user}-{number}") for number in range(12)]
        os.killpg(service.pid, signal.SIGINT)
        assert [client.close_code() for client in clients] == [1012] * 12
        for client in clients:
            client.close()
