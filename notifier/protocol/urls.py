"""URLs that a click may lead to, as browsers read them (URL Standard, https://url.spec.whatwg.org/)."""

import ipaddress
import re
import unicodedata

_WEB = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]*))?\Z")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_FORBIDDEN_IN_A_HOST = set(' #%/:<>?@[\\]^|`{}"')  # the forbidden domain code points (3.5), and what no domain has
_FORBIDDEN_IN_A_LABEL = {*_FORBIDDEN_IN_A_HOST, ".", "\u3002", "\ufffd"}
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # what browsers take for a dot (UTS #46)
_PUNYCODE = "xn--"
_MAX_HOST, _MAX_LABEL = 253, 63  # characters (RFC 1035 section 2.3.4)
_MAX_PORT, _MAX_PORT_DIGITS = 65535, 5


def is_safe(url: str) -> bool:
    """Return whether a click leads to where the URL seems to: a path of this site, or an http(s) URL.

    `javascript:` would run a script, `//host` and `https://name@host` hide another site, browsers read `\\` as `/` and
    drop tabs and line breaks (4.4). Some URLs that browsers take are not accepted because nobody can see where they
    lead: those with invisible characters or other spaces than U+0020, with `%` in the host, and with an IPv4 address in
    another form than four decimal numbers.
    """
    if "\\" in url or not url.isprintable():
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    web = _WEB.match(url)
    return web is not None and _is_authority(web[1])


def _is_authority(text: str) -> bool:
    parts = _AUTHORITY.match(text)
    if not parts or not _is_port(parts[2]):
        return False
    host = parts[1]
    if host.startswith("["):
        return _is_address(host[1:-1], ipaddress.IPv6Address)
    if set(host) & _FORBIDDEN_IN_A_HOST or len(host) > _MAX_HOST:
        return False
    return _is_domain(host.translate(_DOTS).rstrip("."))


def _is_port(digits: str | None) -> bool:
    """Return whether digits are a port; without digits, it is that of the scheme."""
    if not digits:
        return True
    number = digits.lstrip("0")
    return 0 < len(number) <= _MAX_PORT_DIGITS and int(number) <= _MAX_PORT


def _is_domain(host: str) -> bool:
    labels = [label if label.isascii() else _mapped(label) for label in host.split(".")]
    if not host or not all(map(_is_label, labels)):
        return False
    # A host whose last label is a number is an IPv4 address, or nothing (3.5, "ends in a number").
    return not _NUMBER.fullmatch(labels[-1]) or _is_address(".".join(labels), ipaddress.IPv4Address)


def _mapped(label: str) -> str:
    """Return a label as browsers map it, about: UTS #46 has more exceptions."""
    return unicodedata.normalize("NFKC", label).lower()


def _is_label(label: str) -> bool:
    """Return whether a part of a domain, which is mapped, has only what a domain may have."""
    if label.lower().startswith(_PUNYCODE):
        return len(label) <= _MAX_LABEL and _is_punycode(label[len(_PUNYCODE) :])
    return _FORBIDDEN_IN_A_LABEL.isdisjoint(label) and (label.isascii() or _is_readable(label))


def _is_readable(label: str) -> bool:
    """Return whether letters do not begin with an accent, and are not of both directions (RFC 5893 section 2)."""
    directions = set(map(unicodedata.bidirectional, label))
    is_mixed = "L" in directions and not directions.isdisjoint(("R", "AL"))
    return label.isprintable() and not is_mixed and not unicodedata.category(label[0]).startswith("M")


def _is_punycode(text: str) -> bool:
    """Return whether the text after `xn--` encodes a label, and the label is one that would be encoded like this."""
    try:
        label = text.lower().encode().decode("punycode")
    except UnicodeError:
        return False
    return not label.isascii() and label == _mapped(label) and _is_label(label)


def _is_address(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
