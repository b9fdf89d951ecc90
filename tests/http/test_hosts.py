"""Hosts: which names clients may use."""

from typing import Any

import pytest

from notifier.errors import BadRequest, MisdirectedRequest
from notifier.http.hosts import Hosts
from tests.kit.cases import rows

HOSTS = Hosts(("https://notify.example", "http://notifier.internal:8080"))


def check(host: str | None, path: str = "/v1/stream", protocol: str = "HTTP/1.1", hosts: Hosts = HOSTS) -> None:
    environ: dict[str, Any] = {"PATH_INFO": path, "SERVER_PROTOCOL": protocol}
    hosts.check(environ if host is None else environ | {"HTTP_HOST": host})


@rows("host", ["notify.example", "Notify.Example:443", "notify.example.", "notifier.internal:8080"])
def test_own(host: str) -> None:
    """A host is compared like an origin, in any spelling, and a second check has the same result."""
    check(host)
    check(host)


@rows(
    "host",
    ["evil.example", "notify.example:8080", "notify.example:80", "notifier.internal", "127.0.0.1:8080", "", "notify"]
    + ["notify.example,evil.example", "x@notify.example", "notify.example/", "notify.example.evil.example"],
)
def test_others(host: str) -> None:
    """Other hosts are rejected on every path, but on those of operators, who come by address."""
    for path in ("/", "/v1/notifications", "/static/notifier.js", "/healthz/", "//metrics"):
        with pytest.raises(MisdirectedRequest):
            check(host, path)
    for path in ("/healthz", "/readyz", "/metrics"):
        check(host, path)


def test_any() -> None:
    """Without a public URL every host is accepted."""
    check("evil.example", hosts=Hosts(()))


def test_no_host() -> None:
    """HTTP/1.1 requires a host. With a public URL, HTTP/1.0 does, too."""
    with pytest.raises(BadRequest):
        check(None, hosts=Hosts(()))
    check(None, protocol="HTTP/1.0", hosts=Hosts(()))
    with pytest.raises(MisdirectedRequest):
        check(None, protocol="HTTP/1.0")


def test_spellings() -> None:
    """Spellings are remembered up to a number."""
    hosts = Hosts(("https://notify.example",))
    for number in range(1 << 8):
        spelling = "".join(
            letter.upper() if number >> place & 1 else letter for place, letter in enumerate("notify.example")
        )
        check(spelling, hosts=hosts)
    assert len(hosts._known) == 100
