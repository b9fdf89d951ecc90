"""URLs that a click may lead to, as browsers read them (URL Standard, https://url.spec.whatwg.org/)."""

import ipaddress
import re

_WEB = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]*))?\Z")
_FORBIDDEN_IN_A_HOST = set(' #%/:<>?@[\\]^|`{}"')  # the forbidden domain code points (3.5), and what no domain has
_MAX_PORT = 65535


def is_safe(url: str) -> bool:
    """Return whether a click leads to where the URL seems to: a path of this site, or an http(s) URL.

    `javascript:` would run a script, `//host` and `https://name@host` hide another site, browsers read `\\` as `/` and
    drop tabs and line breaks (4.4).
    """
    if "\\" in url or not url.isprintable():
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    web = _WEB.match(url)
    return web is not None and _is_authority(web[1])


def _is_authority(text: str) -> bool:
    parts = _AUTHORITY.match(text)
    if not parts or (parts[2] and not 0 < int(parts[2][-6:]) <= _MAX_PORT):
        return False
    host = parts[1]
    if host.startswith("["):
        return _is_address(host[1:-1], ipaddress.IPv6Address)
    if set(host) & _FORBIDDEN_IN_A_HOST or not host.strip("."):
        return False
    # A host whose last label is a number is an IPv4 address, or nothing (3.5, "ends in a number").
    last = host.rstrip(".").rpartition(".")[2]
    return not last.isdecimal() or _is_address(host.rstrip("."), ipaddress.IPv4Address)


def _is_address(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
