"""The doorman: it opens exactly what gunicorn and flask-sock would open, and leaves them everything else untouched."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.connections.acceptor import Acceptor
from notifier.errors import BrokerUnavailable, InvalidToken, Problem, RateLimited, TooManyConnections
from notifier.protocol import identity
from notifier.protocol.identity import KeysPending
from tests.kit.cases import rows
from tests.kit.handshakes import PEER, SECRET, Handshakes, Opened
from tests.kit.link import no_faults

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LINES = (
    b"GET /v1/stream HTTP/1.1",
    b"Host: 127.0.0.1",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}".encode(),
    b"Sec-WebSocket-Version: 13",
)


@pytest.fixture(autouse=True)
def loop_without_faults() -> Iterator[None]:
    with no_faults():
        yield


def token(user: str = "alice", expires: float = 600) -> str:
    return identity.sign(user, SECRET, time.time() + expires)


def request(*more: str | bytes, lines: tuple[bytes, ...] = LINES) -> bytes:
    return b"\r\n".join([*lines, *(line.encode() if isinstance(line, str) else line for line in more), b"\r\n"])


def opened_by_both(data: bytes, **options: Any) -> Opened:
    """Return the stream that both ways open for a request, and check that it is the same."""
    at_once, by_flask = Handshakes(**options).at_once(data), Handshakes(**options).by_flask(data)
    assert at_once is not None
    assert at_once == by_flask
    return at_once


@rows(
    "more",
    [
        [],
        ["Sec-WebSocket-Protocol: other, notifier.v1"],
        ["Sec-WebSocket-Extensions: permessage-deflate"],
        ["Origin: https://evil.example", "User-Agent: x"],
        ["X-Forwarded-For: 198.51.100.1"],
        ["Forwarded: for=198.51.100.1;proto=https, for=127.0.0.2"],
        ["Forwarded: for=198.51.100.1", "X-Forwarded-For: 198.51.100.2"],
        ["Cookie: other=1"],
        ["Authorization: Basic YTpi"],
    ],
)
def test_accepted(more: list[str]) -> None:
    """A usual handshake is answered as by flask-sock, for the same address, with the bytes behind it."""
    opened = opened_by_both(request(*more) + b"\x81\x80abcd")
    assert opened.answer.startswith(b"HTTP/1.1 101 ")
    assert (opened.identity, opened.early) == (None, b"\x81\x80abcd")


def test_tokens() -> None:
    """A token in a header, or in the cookie of an own or an allowed page, is the identity of the connection."""
    bearer, cookie = f"Authorization: Bearer {token()}", f"Cookie: a=b; notifier_token={token()}"
    for more in (
        [bearer],
        [f"Authorization: bearer  {token()} "],
        [cookie, "Origin: http://127.0.0.1"],
        [cookie, "Origin: https://shop.example", "Sec-Fetch-Site: cross-site"],
    ):
        who = opened_by_both(request(*more)).identity
        assert who is not None and who.user == "alice"


@rows(
    "more",
    [
        ["Authorization: Bearer wrong"],
        ["Authorization: Bearer"],
        [f"Authorization: Bearer {token(expires=-60)}"],
        [f"Cookie: notifier_token={token()}"],
        [f"Cookie: notifier_token={token()}", "Origin: https://evil.example"],
        [f"Cookie: notifier_token={token()}", "Origin: http://127.0.0.1", "Sec-Fetch-Site: same-site"],
        ["Cookie: notifier_token=wrong", "Origin: https://shop.example"],
    ],
)
def test_rejected(more: list[str]) -> None:
    """A request that must be rejected is left to gunicorn, and counts nothing."""
    handshakes = Handshakes(address_handshake_rate=0.01)
    assert handshakes.at_once(request("X-Forwarded-For: 198.51.100.1", *more)) is None
    assert handshakes.by_flask(request(*more)) is None
    assert handshakes.at_once(request("X-Forwarded-For: 198.51.100.1"))  # the only one that this address may open


@rows("line", [b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Key: %s" % KEY.encode()[:-2]])
def test_other_handshakes(line: bytes) -> None:
    """A wrong version or key is left to flask-sock, which rejects it."""
    name = line.split(b":")[0]
    data = request(lines=tuple(line if each.startswith(name) else each for each in LINES))
    assert Handshakes().at_once(data) is None
    assert Handshakes().by_flask(data) is None


def test_other_hosts() -> None:
    """With a public URL, only its hosts are served."""
    url = ("https://notify.example",)
    other = request()
    own = request(lines=(LINES[0], b"Host: NOTIFY.example", *LINES[2:]))
    assert opened_by_both(own, public_url=url)
    assert Handshakes(url).at_once(other) is None
    assert Handshakes(url).by_flask(other) is None


def test_handshake_rate() -> None:
    """The handshakes of an address count on both ways, and once: the one that is too many is left to gunicorn."""
    handshakes = Handshakes(address_handshake_rate=1)  # two at once
    one, other = request("X-Forwarded-For: 198.51.100.1"), request("X-Forwarded-For: 198.51.100.2")
    assert handshakes.at_once(one)
    assert handshakes.by_flask(one)
    assert handshakes.at_once(one) is None
    assert handshakes.at_once(other)


def test_connections_of_an_address() -> None:
    """An address with as many connections as it may have is left to gunicorn."""
    handshakes = Handshakes(address_connections=1)
    data = request("X-Forwarded-For: 198.51.100.1")
    address = opened_by_both(data).address
    handshakes.addresses.opened(address)
    assert handshakes.at_once(data) is None
    handshakes.addresses.closed(address)
    assert handshakes.at_once(data)


def test_requests_in_flight() -> None:
    """An address or a user with as many requests as they may have is left to gunicorn."""
    handshakes = Handshakes(address_requests=1, user_requests=1)
    data = request("X-Forwarded-For: 198.51.100.1", f"Authorization: Bearer {token()}")
    address = opened_by_both(data).address
    assert address is not None
    for limit, name in ((handshakes.addresses.requests, address), (handshakes.users.requests, "alice")):
        limit.enter(name)
        assert handshakes.at_once(data) is None
        limit.leave(name)
        assert handshakes.at_once(data)


def test_connections_of_a_peer() -> None:
    """A peer with as many HTTP connections as it may have is left to gunicorn."""
    handshakes, peer = Handshakes(address_requests=1), ("198.51.100.1", 40000)
    opened = handshakes.at_once(request(), peer)
    assert opened is not None and opened.address is not None
    handshakes.addresses.peers.enter(opened.address)
    assert handshakes.at_once(request(), peer) is None


@rows("peer", [PEER, ("198.51.100.1", 40000), ("::1", 40000, 0, 0), ("2001:db8::1", 40000, 0, 0), ""])
def test_peers(peer: Any) -> None:
    """The address of a peer counts as on the other way, also that of a Unix socket."""
    at_once, by_flask = Handshakes().at_once(request(), peer), Handshakes().by_flask(request(), peer)
    assert at_once is not None
    assert at_once == by_flask


def test_full() -> None:
    """A worker that is full, or has not reached Redis, leaves everything to gunicorn."""
    handshakes = Handshakes()
    handshakes.acceptor.has_room = False
    assert handshakes.at_once(request()) is None


@rows("fault", [KeysPending(None), InvalidToken(), RateLimited(), BrokerUnavailable(), RuntimeError("a fault")])
def test_checks_that_fail(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """If a token is not accepted at once, whatever the reason, gunicorn serves the request. Faults are logged."""

    def verify(token: str, now: float) -> Any:
        raise fault

    handshakes = Handshakes(verify=verify)
    assert handshakes.at_once(request(f"Authorization: Bearer {token()}")) is None
    assert handshakes.at_once(request())
    assert ("a fault" in caplog.text) is isinstance(fault, RuntimeError)


def test_opening_that_fails() -> None:
    """If a stream cannot be opened, its socket is closed."""
    handshakes = Handshakes()
    handshakes.acceptor.fault = RuntimeError("a fault")
    with pytest.raises(RuntimeError, match="a fault"):
        handshakes.at_once(request())


class TestRoom:
    @rows(("limit", "reached", "draining"), [(1, True, False), (0, False, False), (0, True, True), (0, True, False)])
    def test_same_as_required(self, limit: int, reached: bool, draining: bool) -> None:
        """There is room where `require_room` finds some and closes nobody."""
        acceptor: Any = Acceptor.__new__(Acceptor)
        acceptor._connections, acceptor._limit = set(), limit
        acceptor._has_reached_redis, acceptor.is_draining = lambda: reached, draining
        acceptor._places = _NobodyLeaves()
        try:
            acceptor.require_room()
        except (BrokerUnavailable, TooManyConnections):
            assert not acceptor.has_room
        else:
            assert acceptor.has_room


class _NobodyLeaves:
    @property
    def strangers(self) -> Any:
        return self

    def make_room(self) -> bool:
        return False


NAMES = [
    b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol",
    b"Content-Length", b"Transfer-Encoding", b"Expect", b"Cookie", b"Authorization", b"Origin", b"X-Forwarded-For",
    b"Forwarded", b"X-Forwarded-Proto", b"X-Forwarded-Ssl", b"X_Forwarded_For", b"Content-Type", b"If-Match", b"A", b"",
]  # fmt: skip
VALUES = [
    b"a..b", b".a", b"a.", b"a-.b:80", b"[::1]:8080", b"x" * 63 + b".a", b"a." + b"x" * 60 + b":8080",
    b"127.0.0.1", b"websocket", b"WebSocket", b"h2c", b"upgrade", b"keep-alive, Upgrade", b"close", b"13", b"8",
    KEY.encode(), b"notifier.v1", b"0", b"7", b"chunked", b"100-continue", b"notifier_token=x", b"Bearer x", b"null",
    b"198.51.100.1", b"for=198.51.100.1", b"https", b"on", b"*", b"a\tb", b" a ", b"\xe9", b"", b"x" * 2000,
]  # fmt: skip
FIELDS = st.tuples(st.sampled_from(NAMES), st.sampled_from([b": ", b":", b" : "]), st.sampled_from(VALUES)).map(
    b"".join
)
JUNK = st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b",", b"\x80", b"?", b"%", b"_"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return a request to upgrade of which some lines are others, are there twice, or are missing, and some bytes."""
    lines = list(LINES)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 1))] = draw(st.lists(FIELDS | st.sampled_from(LINES), max_size=2))
    data = bytearray(request(lines=tuple(lines)))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(JUNK | st.binary(max_size=2))
    return bytes(data) + draw(st.sampled_from([b"", b"", b"early", b"\r\n"]))


@given(requests())
def test_nothing_else_is_accepted(data: bytes) -> None:
    """Whatever the doorman accepts, gunicorn and flask-sock accept, with the same result."""
    at_once = Handshakes().at_once(data)
    if at_once is not None:
        assert at_once == Handshakes().by_flask(data)


def test_problem_is_not_hidden() -> None:
    """A problem of the limits that was not foreseen leaves the request to gunicorn."""
    handshakes = Handshakes()

    def refuse(address: int | None) -> None:
        raise Problem

    handshakes.addresses.require_stream = refuse  # type: ignore[method-assign]
    assert handshakes.at_once(request()) is None
