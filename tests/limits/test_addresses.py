"""Limits of addresses, and which address a request counts for."""

import pytest

from notifier.errors import RateExceeded, RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.client_address import ClientAddresses
from notifier.protocol.forwarded import UNIX_UNIT, Proxies, parse, text_of
from tests.kit.cases import rows
from tests.limits.conftest import Clock

TRUSTED = parse("10.0.0.0/8, unix")
GLOBAL = "8.8.8.8"


def counted(peer: str, proxies: Proxies = TRUSTED, **headers: str) -> str | None:
    environ = {"REMOTE_ADDR": peer} | {f"HTTP_{name.upper()}": text for name, text in headers.items()}
    found = ClientAddresses(proxies).of_request(environ)
    return None if found is None else text_of(found)


@rows("peer", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "fe80::1", ""])
def test_without_proxies(peer: str) -> None:
    """Peers that may be proxies are not counted, whatever they send; those of the internet are."""
    assert counted(peer, Proxies()) is None
    assert counted(peer, Proxies(), x_forwarded_for=GLOBAL) is None
    assert counted(GLOBAL, Proxies(), x_forwarded_for="1.1.1.1") == GLOBAL


def test_behind_proxies() -> None:
    """Clients are counted by the address that proxies forward, and requests of the proxies themselves are not."""
    assert counted("10.0.0.1", x_forwarded_for="192.168.1.1") == "192.168.1.1"
    assert counted("", forwarded="for=8.8.8.8") == GLOBAL
    assert counted("10.0.0.1") is None
    assert counted("10.0.0.1", x_forwarded_for="x") == "10.0.0.1"
    assert counted("", x_forwarded_for="x") == "unix"
    assert counted("127.0.0.1", x_forwarded_for=GLOBAL) == "127.0.0.1"


@rows(
    ("peer", "headers", "text"),
    [
        (GLOBAL, {"x_forwarded_for": "1.1.1.1"}, GLOBAL),
        ("10.0.0.1", {"x_forwarded_for": "2001:db8::1:2"}, "2001:db8::1:2"),
        ("10.0.0.1", {}, "10.0.0.1"),
        ("", {"forwarded": "for=8.8.8.8"}, GLOBAL),
        ("", {}, ""),
    ],
)
def test_texts(peer: str, headers: dict[str, str], text: str) -> None:
    """The audit log has the whole address of the client, as trusted proxies forward it."""
    environ = {"REMOTE_ADDR": peer} | {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    assert ClientAddresses(TRUSTED).text_of(environ) == text


def test_peers() -> None:
    """Before a request only the peer is known: proxies are not counted."""
    clients = ClientAddresses(TRUSTED)
    assert clients.of_peer(("10.0.0.1", 5)) is None and clients.of_peer("") is None
    assert clients.of_peer((GLOBAL, 5)) == int.from_bytes(bytes([8] * 4))
    assert ClientAddresses(parse("10.0.0.1")).of_peer("") == UNIX_UNIT


def test_streams(clock: Clock) -> None:
    """Streams count while they are open, by address."""
    limits = AddressLimits(LimitSettings(address_connections=2), clock)
    for _ in range(2):
        limits.require_stream(1)
        limits.opened(1)
    with pytest.raises(RateLimited) as raised:
        limits.require_stream(1)
    assert raised.value.fields["limit"] == "address_connections"
    limits.require_stream(2)
    for _ in range(2):
        limits.closed(1)
    limits.require_stream(1)
    assert not limits.streams


def test_handshakes(clock: Clock) -> None:
    """Handshakes have a rate."""
    limits = AddressLimits(LimitSettings(address_handshake_rate=1), clock)
    for _ in range(2):
        limits.require_stream(1)
    with pytest.raises(RateLimited) as raised:
        limits.require_stream(1)
    assert raised.value.fields["limit"] == "address_handshakes"
    clock.now += 1
    limits.require_stream(1)


def test_failures(clock: Clock) -> None:
    """After too many failures an address has to pause, longer with each further failure. It may open streams."""
    limits = AddressLimits(LimitSettings(address_failure_rate=0.1), clock)
    for _ in range(6):
        limits.failed(1)
    waits = []
    for _ in range(3):
        limits.failed(1)
        for _ in range(2):  # what fails during the pause does not prolong it
            with pytest.raises(RateLimited) as raised:
                limits.failed(1)
        with pytest.raises(RateExceeded):
            limits.failed_on_stream(1)
        limits.require_stream(1)
        waits.append(raised.value.retry_after)
        clock.now += raised.value.retry_after or 0
    assert waits == [1, 2, 4] and raised.value.fields["limit"] == "address_failures"
    limits.failed(2)
    clock.now += 3600
    limits.failed(1)
    limits.failed_on_stream(1)
    assert not limits._pauses


def test_not_counted(clock: Clock) -> None:
    """Nothing is counted for an address that is not known."""
    limits = AddressLimits(LimitSettings(address_handshake_rate=0.1, address_connections=1), clock)
    for _ in range(200):
        limits.require_stream(None)
        limits.opened(None)
        limits.failed(None)
        limits.failed_on_stream(None)
    limits.closed(None)
    assert not limits.streams and not limits._pauses
