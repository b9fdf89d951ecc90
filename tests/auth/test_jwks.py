"""Fetching key sets: from servers that are good, broken, slow, huge or hostile."""

import re
import ssl
import time
from collections.abc import Iterator

import pytest

from notifier.auth.jwks import FetchError, fetch, secure_context
from notifier.protocol.jwk import MAX_BYTES
from tests.kit.issuers import ENDLESS, OK, SLOW, KeyServer, Serve, key_server, repeating, sending
from tests.kit.ports import free_port
from tests.kit.proxies import certificate
from tests.kit.waiting import DEADLINE

TOO_LONG = "in time|longer than"  # in the errors of a deadline


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server(b'{"keys": []}') as server:
        yield server


def test_body(server: KeyServer) -> None:
    """The body of the answer is returned, with any valid length."""
    assert fetch(server.url) == b'{"keys": []}'
    server.body = b" " * MAX_BYTES
    assert fetch(server.url) == server.body


@pytest.mark.parametrize(
    "answer, body",
    [
        (OK + b"\r\nabc", b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nabc", b"a"),
    ],
)
def test_framing(server: KeyServer, answer: bytes, body: bytes) -> None:
    """A body without a length, or in chunks, is read to its end."""
    server.serve = sending(answer)
    assert fetch(server.url) == body


def test_request(server: KeyServer) -> None:
    """The request names the host and the path with its query."""
    url = server.url.replace("127.0.0.1", "localhost") + "/a?b=c"
    fetch(url)
    head = server.head.decode()
    assert head.startswith("GET /keys/a?b=c HTTP/1.1\r\n")
    assert f"\r\nHost: {url.split('/')[2]}\r\n" in head
    assert "\r\nConnection: close\r\n" in head


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 401, 404, 429, 500, 503])
def test_status(server: KeyServer, status: int) -> None:
    """Only 200 is an answer: a redirect is not followed."""
    server.status = status
    with pytest.raises(FetchError, match=str(status)):
        fetch(server.url)
    assert server.requests == 1


@pytest.mark.parametrize("serve", ENDLESS)
def test_endless(server: KeyServer, serve: Serve) -> None:
    """An endless answer is aborted at the limit of bytes, in any part of the answer, and not at the deadline."""
    server.serve = serve
    with pytest.raises(FetchError) as caught:
        fetch(server.url, deadline=DEADLINE)
    assert not re.search(TOO_LONG, str(caught.value))


@pytest.mark.parametrize("serve", SLOW)
def test_slow(server: KeyServer, serve: Serve) -> None:
    """A request to a server that is slow, or that sends single bytes, is aborted at the deadline."""
    server.serve = serve
    began = time.monotonic()
    with pytest.raises(FetchError, match=TOO_LONG):
        fetch(server.url, deadline=0.5)
    assert 0.4 < time.monotonic() - began < DEADLINE / 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"x",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        OK + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
def test_broken(server: KeyServer, answer: bytes) -> None:
    """An answer that is cut off or no HTTP is rejected."""
    server.serve = sending(answer)
    with pytest.raises(FetchError):
        fetch(server.url)


def test_nobody() -> None:
    """A server that does not exist is named by what failed."""
    with pytest.raises(FetchError, match="refused"):
        fetch(f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(FetchError):
        fetch("http://host.invalid/")


def test_tls(server: KeyServer) -> None:
    """A certificate that is not trusted, and a server without TLS, are rejected."""
    with pytest.raises(FetchError):
        fetch(server.url.replace("http:", "https:"))
    server.serve = repeating(b"", b"\x16", 0.05)
    began = time.monotonic()
    with pytest.raises(FetchError):
        fetch(server.url.replace("http:", "https:"), deadline=0.5)
    assert time.monotonic() - began < DEADLINE / 2


def test_certificate(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set is fetched with TLS from a host whose certificate is trusted."""
    own = certificate()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(own.chain, own.key)
    url = server.url.replace("http:", "https:")
    with pytest.raises(FetchError, match="certificate"):
        fetch(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(own.chain))
    secure_context.cache_clear()
    assert fetch(url) == b'{"keys": []}'
    with pytest.raises(FetchError, match="certificate"):
        fetch(url.replace("127.0.0.1", "localhost"))
    secure_context.cache_clear()
