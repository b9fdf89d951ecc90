"""Variables: what the text of a setting may be, and the value that it has.

Each function raises a `ValueError` whose text ends a sentence that begins with the name of the variable.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def read(text: str, kind: Callable[[str], Any], least: float | None, unit: str) -> Any:
    """Return the value of a setting: `kind` makes it of the text, and it is at least `least` if that is given.

    Every number has a greatest value, too: larger ones overflow in the kernel, in Redis, or in a timer.
    """
    try:
        value = kind(text)
    except ValueError as error:
        raise ValueError(f"must be {_NUMBERS[kind]}" if kind in _NUMBERS else str(error)) from error
    if least is not None:
        most = _GREATEST_TIMER if kind is float and unit == "seconds" else _GREATEST.get(unit, 10**9)
        if not least <= value <= most:
            raise ValueError(f"must be at least {least:g} and at most {most:.0f} ({unit})")
    return value


def flag(text: str) -> bool:
    """Return whether a switch is on."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("is neither 1 nor 0")


def claim(text: str) -> str:
    """Return the name of a claim of a token."""
    if not text:
        raise ValueError("must name a claim")
    return text


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a list that is separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def log_level(text: str) -> str:
    """Return the name of a level of logging."""
    if text not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text


def key_prefix(text: str) -> str:
    """Return the beginning of the names of keys."""
    if not text or not text.isprintable() or set("{}: ") & set(text):
        raise ValueError("must be a word without spaces, colons and braces")
    return text


def cookie_name(text: str) -> str:
    """Return the name of a cookie (RFC 6265 section 4.1.1)."""
    if not _COOKIE.fullmatch(text):
        raise ValueError("must be a name of letters, digits and - _ .")
    return text


def address(text: str) -> str:
    """Return the address of a server: `host:port`, `unix:/path` or `fd://number`. The port is 8080 if there is none."""
    if text.startswith(("unix:/", "fd://")):
        return text
    parts = _ADDRESS.fullmatch(text)
    if not parts or text.isdecimal() or int(parts[2] or 0) > _MAX_PORT:
        raise ValueError(f"is not an address such as 127.0.0.1:{_PORT}, [::1]:{_PORT}, localhost or unix:/path")
    return f"{parts[1]}:{parts[2] or _PORT}"


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches an address."""
    host = address.rpartition(":")[0].lower().strip("[]")
    return address.startswith("unix:") or host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.[0-9]+){3}", host))


def redis_url(text: str) -> str:
    """Return the URL of a Redis, or nothing. No error shows a part of it: it may be a part of the password."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises if it is not a number
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("is not a URL: check its port, and that its password is percent-encoded") from None
    if not text:
        return ""
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    if parts.fragment or "#" in text or not {name for name, _ in options} <= _REDIS_OPTIONS:
        known = ", ".join(sorted(_REDIS_OPTIONS))
        raise ValueError(f"has an unknown parameter; known are {known}. # and ? in a password are percent-encoded")
    database = dict(options).get("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdecimal() and dict(options).get("db", "0").isdecimal()):
        raise ValueError("names a database that is not a number")
    if parts.scheme == "unix" and not parts.path.strip("/"):
        raise ValueError("needs the path of a socket: unix:///run/redis.sock")
    return parts.scheme + text[len(parts.scheme) :]


_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ADDRESS = re.compile(r"(?!unix:)(?=.)(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|(?=:[0-9]))(?::([0-9]{0,5}))?")
_PORT, _MAX_PORT = 8080, 65535
_TLS = {"ca_certs", "ca_data", "ca_path", "cert_reqs", "certfile", "check_hostname", "keyfile", "password"}
_REDIS_OPTIONS = {"db", *(f"ssl_{name}" for name in _TLS)}
_GREATEST_TIMER = 604800.0  # a week: with milliseconds, twice that still fits 31 bits
_GREATEST: dict[str, float] = {
    "bytes": 1 << 30,
    "processes": 1024,
    "replicas": 100,
    "seconds": 10 * 365 * 86400,
    "notifications": 10**6,
    "connections": 10**6,
    "requests": 10**6,
    "publications per day": 10**11,
    "recipients per day": 10**11,
    "topics per day": 10**9,
    "bytes per day": 5 * 10**11,
}
