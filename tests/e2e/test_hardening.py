"""Hardening: the contents of every answer, requests for other hosts, and the places where secrets are."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import raw
from tests.kit.leaks import leaks, secrets_of
from tests.kit.raw import Peer
from tests.kit.segments import both_ways
from tests.kit.service import API_KEY, JSON, PROBLEM, Service

BACKEND = {"Authorization": f"Bearer {API_KEY}"}
GET = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def public() -> Iterator[Service]:
    """A service with a public URL."""
    with Service(workers=1, public_url="https://notify.example,http://notifier.internal:8080") as service:
        yield service


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /docs/errors HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /static/notifier.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"OPTIONS /v1/inbox HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
        b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",  # no Host
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100 + b"\r\n",
    ],
)
def test_every_answer(service: Service, request_: bytes) -> None:
    """No answer lets a browser guess its type or names the software; every error is a problem."""
    answer = service.exchange(request_)
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert "Server" not in answer.headers
    assert "gunicorn" not in answer.text
    assert answer.status < 400 or answer.headers.get_content_type() == PROBLEM
    assert answer.headers["Notifier-Version"]


def test_streams(service: Service, user: str) -> None:
    """Streams of events and polls have the same headers."""
    for kind in ("text/event-stream", JSON):
        connection = service.dial()
        headers = {"Authorization": f"Bearer {service.token(user)}", "Accept": kind}
        connection.request("GET", "/v1/stream?wait=0", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert "Server" not in answer.headers
        connection.close()


@pytest.mark.parametrize("path", [b"/", b"/v1/inbox", b"/v1/notifications", b"/static/notifier.js", b"/v1/stream"])
def test_other_hosts(public: Service, path: bytes) -> None:
    """With a public URL other hosts are rejected, on every way in."""
    for host in (b"evil.example", b"127.0.0.1:%d" % public.port):
        answer = public.exchange(GET % (path, host))
        assert (answer.status, answer.json["code"]) == (421, "misdirected_request")


def test_public_hosts(public: Service) -> None:
    """The listed hosts are served, and operators by any address."""
    for host in (b"notify.example", b"NOTIFY.example:443", b"notifier.internal:8080"):
        assert public.exchange(GET % (b"/static/notifier.js", host)).status == 200
    for path, status in ((b"/healthz", 200), (b"/readyz", 200), (b"/metrics", 401)):
        assert public.exchange(GET % (path, b"10.0.0.1:8080")).status == status


@both_ways
def test_websockets_of_other_hosts(public: Service, split: bool) -> None:
    """A handshake for another host is rejected, one for the public host is not."""
    for host, status in (("evil.example", 421), ("notify.example", 101)):
        with Peer(public.port, "/v1/stream", {"Host": host}, split=split) as peer:
            assert peer.status == status


def test_chunked_body_for_another_host(public: Service) -> None:
    """A publication is rejected by its head; its body publishes nothing."""
    head = b"POST /v1/notifications HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
    body = b'{"to": {"users": ["a"]}, "title": "x"}'
    auth = f"Authorization: Bearer {API_KEY}\r\n".encode()
    before = public.metric("notifier_publications_total")
    assert public.exchange(head + auth + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)).status == 421
    assert public.metric("notifier_publications_total") == before


def test_secrets_of_processes(public: Service) -> None:
    """No command line of the service and its server, which all users of the machine see, has a secret."""
    secrets = secrets_of(public._environ)
    assert API_KEY in secrets
    processes = [path for path in Path("/proc").glob("[0-9]*") if belongs(path, public.pid)]
    lines = [(path / "cmdline").read_bytes().decode() for path in processes]
    assert any("valkey" in line or "redis" in line for line in lines), "the embedded server is among them"
    assert leaks("\n".join(lines), secrets) == []
    assert all((path / "environ").stat().st_mode & 0o077 == 0 for path in processes)


def test_secrets_of_requests(public: Service, user: str) -> None:
    """Answers, metrics and logs of requests with secrets contain none of the secrets."""
    token = public.token(user)
    texts = [
        public.request("GET", f"/v1/inbox?{name}", headers={"Host": "notify.example", **headers}).text
        for headers in (
            {"Authorization": f"Bearer {token}x"},
            {"Authorization": f"Bearer {API_KEY}"},
            {"Cookie": token},
        )
        for name in ("limit=x", "")
    ]
    malformed = b"GET /v1/inbox HTTP/1.1\r\nHost: notify.example\r\nAuthorization: Bearer %s\x01\r\n\r\n"
    texts += [public.exchange(malformed % secret.encode()).text for secret in (API_KEY, token)]
    with Peer(public.port, "/v1/stream", {"Host": "notify.example"}) as peer:
        peer.send(raw.text(type="hello", token=f"{token}x"))
        texts.append(repr(list(peer.frames())))
    texts.append(public.metrics())
    assert leaks("\n".join(texts), secrets_of(public._environ)) == []
    assert public.leaks() == []


def belongs(process: Path, master: int) -> bool:
    """Return whether a process is a master, or below it."""
    try:
        parent = int(re.search(r"^PPid:\t(\d+)", (process / "status").read_text(), re.MULTILINE)[1])  # type: ignore[index]
        is_ours = process.stat().st_uid == os.getuid()
    except (OSError, TypeError):
        return False  # it has ended
    return is_ours and (int(process.name) == master or parent == master)
