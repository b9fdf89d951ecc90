"""Which address a request comes from, behind proxies that are trusted and others."""

import ipaddress

import pytest

from notifier.protocol import forwarded
from notifier.protocol.forwarded import Proxies, client_of, parse, read_peer, text_of, unit_of
from tests.kit.cases import rows

TRUSTED = parse("10.0.0.0/8, fd00::/8, 192.0.2.1")
PROXY, CLIENT = "10.0.0.1", "198.51.100.7"


def client(peer: str = PROXY, header: str | None = None, xff: str | None = None, proxies: Proxies = TRUSTED) -> str:
    found = client_of(read_peer(peer), header, xff, proxies)
    return "unix" if found is None else str(found)


@rows(
    ("xff", "found"),
    [
        (CLIENT, CLIENT),
        (f"1.1.1.1, {CLIENT}", CLIENT),  # the left part was sent by the client itself
        (f"{CLIENT},10.9.9.9", CLIENT),
        (f"1.1.1.1, {CLIENT}, fd00::5, 192.0.2.1", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("fe80::1%eth0", "fe80::1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),  # all of them are proxies: the farthest
        ("", PROXY),
        ("unknown", PROXY),
        (f"{CLIENT}, x", PROXY),
        (f"{CLIENT}, x, 10.2.2.2", "10.2.2.2"),
        (f"{CLIENT}, , 10.2.2.2", "10.2.2.2"),
        ("198.51.100.7.8", PROXY),
        ("0x7f000001", PROXY),
        ("198.051.100.7", PROXY),
        ("[198.51.100.7", PROXY),
        ("١٩٨.51.100.7", PROXY),
    ],
)
def test_x_forwarded_for(xff: str, found: str) -> None:
    """The header is read from the right, up to the first address that is not a proxy, or to one that cannot be read."""
    assert client(xff=xff) == found


@rows(
    ("header", "found"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f"for=1.1.1.1, for={CLIENT};host=a.example", CLIENT),
        (f'for="{CLIENT}:80"', CLIENT),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="[2001:db8::1]", for=10.1.1.1;proto=http', "2001:db8::1"),
        (f'host="a, for=1.1.1.1";for={CLIENT}', CLIENT),
        (f'for="{CLIENT[:-1]}\\{CLIENT[-1]}"', CLIENT),
        (f"for={CLIENT}, for=unknown", PROXY),
        (f"for={CLIENT}, for=_hidden, for=10.3.3.3", "10.3.3.3"),
        (f"for={CLIENT}, proto=https", PROXY),  # a proxy that names no client
        (f'for="x, for={CLIENT}', PROXY),  # a quote that does not end
        ('for="x, for="[2001:db8::1]"', PROXY),
        (f"for={CLIENT},", PROXY),
        (f"for {CLIENT}", PROXY),
        ("", PROXY),
        (";", PROXY),
    ],
)
def test_forwarded(header: str, found: str) -> None:
    """The header of RFC 7239 is read by the same rules."""
    assert client(header=header) == found


@rows(
    ("header", "xff", "found"),
    [
        (f"for={CLIENT}", CLIENT, CLIENT),
        ("for=1.1.1.1", CLIENT, PROXY),
        (f"for={CLIENT}", "1.1.1.1", PROXY),
        ("x", CLIENT, PROXY),
        (None, None, PROXY),
    ],
)
def test_both(header: str | None, xff: str | None, found: str) -> None:
    """A proxy may pass on one of the headers as the client has sent it: if they differ, neither counts."""
    assert client(header=header, xff=xff) == found


def test_too_many_hops() -> None:
    """Only some hops are read, and a header that is longer than any chain of proxies counts as malformed."""
    hops = ["10.0.0.2"] * 40
    assert client(xff=", ".join([CLIENT, *hops[:31]])) == CLIENT
    assert client(xff=", ".join([CLIENT, *hops])) == "10.0.0.2"
    assert client(header=", ".join(f"for={hop}" for hop in [CLIENT, *hops])) == CLIENT
    assert client(header=", ".join(f"for={hop}" for hop in [CLIENT, *hops * 4])) == PROXY


@rows("peer", [CLIENT, "192.0.2.2", "::ffff:192.0.2.2", "", "garbage"])
def test_not_trusted(peer: str) -> None:
    """Other peers may send what they want."""
    assert client(peer, f"for={PROXY}", PROXY) == client(peer) == client(peer, xff="x")


def test_unix() -> None:
    """The peer of a Unix socket is trusted if the setting contains `unix`."""
    assert client("", xff=CLIENT) == "unix"
    assert client("", xff=CLIENT, proxies=parse("unix")) == CLIENT
    assert client("", xff="x", proxies=parse("unix")) == "unix"
    assert client(f"::ffff:{PROXY}", xff=CLIENT) == CLIENT


def test_units() -> None:
    """IPv4 addresses count alone, those of IPv6 with their /64. No two units are the same."""
    addresses = ["0.0.0.0", CLIENT, "255.255.255.255", "::", "2001:db8::1", "2001:db8:0:1::1", "::0.0.0.1"]
    units = [unit_of(ipaddress.ip_address(address)) for address in addresses]
    assert units[3] == units[6] and len(set(units)) == 6
    assert unit_of(read_peer("2001:db8::ffff:1")) == units[4]
    assert [text_of(unit) for unit in units[1:5]] == [CLIENT, "255.255.255.255", "::/64", "2001:db8::/64"]
    assert text_of(unit_of(None)) == "unix" and unit_of(None) not in units


@rows("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "unix:/x", "*", "a b"])
def test_wrong_setting(text: str) -> None:
    """A network is written exactly."""
    with pytest.raises(ValueError, match="must list networks"):
        forwarded.parse(text)


def test_setting() -> None:
    """Networks, addresses and unix are separated by commas."""
    assert not parse("") and not parse(" , ")
    assert parse("unix") and parse("UNIX,::1").has_unix
    assert [str(network) for network in parse("::1, 10.0.0.0/8 ").networks] == ["::1/128", "10.0.0.0/8"]
