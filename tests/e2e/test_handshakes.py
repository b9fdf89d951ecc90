"""Handshakes on both ways: at once, before gunicorn reads them, and by flask-sock. Limits hold on both together."""

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from tests.kit.raw import Peer, handshake, text
from tests.kit.segments import both_ways
from tests.kit.service import Service
from tests.kit.waiting import eventually

FAST = "notifier_fast_handshakes_total"
START = "GET /v1/stream HTTP/1.1"


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    """A service behind a trusted proxy, with low limits for addresses."""
    limits = {"address_connections": 2, "address_failure_rate": 0.1, "address_handshake_rate": 5}
    with Service(workers=1, trusted_proxies="127.0.0.1", **limits) as service:
        yield service


def from_(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def opens(service: Service, headers: dict[str, str], split: bool) -> bool:
    """Return whether a handshake is accepted; if not, the answer must be 429."""
    with Peer(service.port, "/v1/stream", headers, split=split) as peer:
        assert peer.status in (101, 429)
        return peer.status == 101


def test_both_ways_are_taken(service: Service, user: str) -> None:
    """A handshake that arrives with its connection is answered at once, one in two segments by flask-sock."""

    def is_fast() -> bool:
        before = service.metric(FAST)
        with Peer(service.port, "/v1/stream", behind=text(type="hello", token=service.token(user))) as peer:
            assert peer.read_json()["user"] == user
        return service.metric(FAST) > before

    eventually(is_fast)  # a worker may accept a connection just before its request arrives
    before = service.metric(FAST)
    hello = text(type="hello", token=service.token(user))
    for _ in range(5):
        with Peer(service.port, "/v1/stream", behind=hello, split=True) as peer:
            assert peer.read_json()["user"] == user
    assert service.metric(FAST) < before + 5  # it may have read the halves together, but not always


def test_turned_off(user: str) -> None:
    """Without the setting, gunicorn and flask-sock answer all handshakes."""
    with Service(workers=1, fast_handshakes=0) as service:
        for _ in range(20):
            with Peer(service.port, "/v1/stream", behind=text(type="hello", token=service.token(user))) as peer:
                assert peer.read_json()["user"] == user
        assert service.metric(FAST) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "x"},
        {"Upgrade": "h2c"},
        {"Authorization": "Bearer x.y.z"},
        {"Cookie": "notifier_token=x", "Origin": "https://evil.example"},
        {"Content-Length": "1"},
        {"Expect": "nothing"},
        {"Connection": "close"},
    ],
    ids=str,
)
def test_same_problems(service: Service, headers: dict[str, str]) -> None:
    """A rejected handshake has the same answer on both ways."""
    data = handshake(START, {"X-Request-Id": "same"} | headers)
    answers = [service.exchange(data, split=split) for split in (False, True)]
    for answer in answers:
        assert 400 <= answer.status < 500
        del answer.json["request_id"], answer.headers["X-Request-Id"], answer.headers["Date"]
    one, other = answers
    assert (one.status, one.json, one.headers.items()) == (other.status, other.json, other.headers.items())


def test_connections_of_an_address(limited: Service) -> None:
    """Connections that were opened on one way count on the other. Those of other addresses do not."""
    address, other = from_("198.51.100.1"), from_("198.51.100.2")
    with contextlib.ExitStack() as stack:
        for split in (False, True):
            peer = Peer(limited.port, "/v1/stream", address, split=split)
            assert stack.enter_context(peer).status == 101
        for split in (False, True):
            assert not opens(limited, address, split)
            assert opens(limited, other, split)
    for split in (False, True):
        eventually(lambda split=split: opens(limited, address, split))


def test_handshakes_of_an_address(limited: Service) -> None:
    """Handshakes on both ways together are limited. Those of other addresses are not affected."""
    address, ways = from_("198.51.100.3"), itertools.cycle((False, True))
    eventually(lambda: not opens(limited, address, next(ways)))
    eventually(lambda: not opens(limited, address, next(ways)))
    assert opens(limited, from_("198.51.100.4"), split=False)
    for split in (False, True):
        eventually(lambda split=split: opens(limited, address, split))


@both_ways
def test_failed_authentication(limited: Service, user: str, split: bool) -> None:
    """An address that guesses has to pause. Each guess counts once; valid tokens are accepted meanwhile."""
    address = from_(f"198.51.100.{10 + split}")
    before = limited.metric("notifier_refused_credentials_total")
    guess = handshake(START, address | {"Authorization": "Bearer wrong"})
    statuses = [limited.exchange(guess, split=split).status]
    assert limited.metric("notifier_refused_credentials_total") == before + 1
    while statuses[-1] == 401:
        statuses.append(limited.exchange(guess, split=split).status)
    assert statuses[-1] == 429
    eventually(lambda: opens(limited, address | {"Authorization": f"Bearer {limited.token(user)}"}, split))
