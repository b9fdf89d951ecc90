"""Addresses of clients whose requests came through proxies.

A proxy appends the address of its own client to `X-Forwarded-For` or `Forwarded` (RFC 7239). Everything to the left of
what a trusted proxy has appended may be invented, so the headers are read from the right, up to the first address that
is not a trusted proxy's.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Hop = Address | None  # None: the peer of a Unix socket

UNIX = "unix"
UNIX_UNIT = -1  # what is counted together if nothing is known beyond a Unix socket
_IPV6_UNIT = 64  # bits of a network that one customer has: an address of it costs nothing
_MOST_HOPS = 32  # that are read: each takes some microseconds, and a head has room for ten thousand
_LONGEST_FORWARDED = 2048  # characters
_TOKEN = r"[\w!#$%&'*+.^`|~:/\[\]-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")\s*(;|,|\Z)', re.ASCII)
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\w+)?", re.ASCII)
_WITH_PORT = re.compile(r"([0-9.]+):\w+", re.ASCII)


class Proxies(NamedTuple):
    """The proxies whose headers are trusted."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    has_unix: bool = False

    def __bool__(self) -> bool:
        return self.has_unix or bool(self.networks)

    def trusts(self, hop: Hop) -> bool:
        """Return whether a hop is one of them."""
        if hop is None:
            return self.has_unix
        return any(hop in network for network in self.networks)


def parse(text: str) -> Proxies:
    """Return the proxies of a setting: addresses and networks, separated by commas, and `unix`.

    Raises:
        ValueError
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        networks = tuple(ipaddress.ip_network(name) for name in names if name.lower() != UNIX)
    except ValueError:
        raise ValueError("must list networks such as 10.0.0.0/8 or fd00::/8, or unix, separated by commas") from None
    return Proxies(networks, any(name.lower() == UNIX for name in names))


def read_peer(text: str) -> Hop:
    """Return the address of the peer of a socket; None: a Unix socket."""
    return _address(text)


def client_of(peer: Hop, forwarded: str | None, x_forwarded_for: str | None, proxies: Proxies) -> Hop:
    """Return the address of the client that a request comes from; None: it is not known beyond a Unix socket.

    If a header cannot be read, or has more hops than any chain of proxies, it is the last proxy that is known. If both
    headers are there, one of them may have passed a proxy that sets the other one only: if they differ, it is the peer.
    """
    if not proxies.trusts(peer):
        return peer
    clients = [
        _last_untrusted(peer, hops, proxies)
        for hops in (
            None if forwarded is None else _hops_of(forwarded),
            None if x_forwarded_for is None else map(_address, _last_words(x_forwarded_for)),
        )
        if hops is not None
    ]
    if not clients or any(client != clients[0] for client in clients):
        return peer
    return clients[0]


def unit_of(hop: Hop) -> int:
    """Return a number for what is counted together: an IPv4 address, or a /64 of IPv6."""
    if hop is None:
        return UNIX_UNIT
    if isinstance(hop, ipaddress.IPv4Address):
        return int(hop)
    return (1 << _IPV6_UNIT) | int(hop) >> (128 - _IPV6_UNIT)


def text_of(unit: int) -> str:
    """Return the text of what is counted together."""
    if unit == UNIX_UNIT:
        return UNIX
    if unit >> _IPV6_UNIT:
        network = (unit & ((1 << _IPV6_UNIT) - 1)) << (128 - _IPV6_UNIT)
        return f"{ipaddress.IPv6Address(network)}/{_IPV6_UNIT}"
    return str(ipaddress.IPv4Address(unit))


def _last_untrusted(peer: Hop, hops: Iterable[Hop], proxies: Proxies) -> Hop:
    """Return the first hop from the right that is no proxy, or the last one that is known."""
    known = peer
    for hop in hops:
        if hop is None:
            return known
        known = hop
        if not proxies.trusts(hop):
            return known
    return known


def _last_words(x_forwarded_for: str) -> list[str]:
    """Return the hops of `X-Forwarded-For` from the right, as text."""
    return [word.strip() for word in x_forwarded_for.rsplit(",", _MOST_HOPS)[: -_MOST_HOPS - 1 : -1]]


def _hops_of(forwarded: str) -> list[Hop]:
    """Return the hops of `Forwarded` from the right. A header that cannot be read has one that is not known."""
    if len(forwarded) > _LONGEST_FORWARDED:
        return [None]
    hops: list[Hop] = []
    given: Hop = None
    position, end = 0, ","
    while end:
        pair = _PAIR.match(forwarded, position)
        if not pair:
            return [None]
        name, value, end = pair.groups()
        if name.lower() == "for":
            given = _address(re.sub(r"\\(.)", r"\1", value.strip('"')) if value.startswith('"') else value)
        if end != ";":
            hops.append(given)
            given = None
        position = pair.end()
    return hops[::-1]


def _address(text: str) -> Hop:
    """Return an address without its port; None: it is hidden, unknown, or no address."""
    bracketed = _BRACKETED.fullmatch(text)
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((bracketed or with_port or [text, text])[1].partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
