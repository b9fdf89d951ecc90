"""Plain upgrades: which requests are read without gunicorn. That gunicorn agrees is tested in tests/http."""

from typing import Any

from notifier.protocol import plain_upgrade
from tests.kit.cases import rows

HEADERS = {
    "Host": "notify.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(start: str = "GET /v1/stream HTTP/1.1", *more: str, **changes: str | None) -> bytes:
    """Return a request; underscores in the names of headers are hyphens, and None omits one."""
    headers: dict[str, Any] = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([start, *lines, *more, "\r\n"]).encode("latin-1")


@rows(
    "more",
    [
        [],
        ["Origin: https://shop.example", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Pragma: no-cache"],
        ["Authorization: Bearer a.b.c", "Cookie: a=b; c=d", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"],
        ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "X-Empty:", "X-Spaces:   "],
    ],
)
def test_read(more: list[str]) -> None:
    """A usual request is read with all of its headers, and the bytes behind it are kept."""
    found = plain_upgrade.read(request("GET /v1/stream HTTP/1.1", *more) + b"early\r\n\r\n")
    assert found is not None
    assert found.early == b"early\r\n\r\n"
    expected = dict(line.split(":", 1) for line in [*(f"{name}: {value}" for name, value in HEADERS.items()), *more])
    read = {name: value for name, value in found.environ.items() if name.startswith("HTTP_")}
    assert read == {f"HTTP_{name.upper().replace('-', '_')}": value.strip() for name, value in expected.items()}
    assert (found.environ["REQUEST_METHOD"], found.environ["PATH_INFO"]) == ("GET", "/v1/stream")


@rows(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, UPGRADE"},
        {"Connection": "upgrade,keep-alive"},
        {"Host": "127.0.0.1:8080"},
        {"Host": "[::1]:8080"},
        {"Host": "Notify.Example."},
    ],
)
def test_spellings(changes: dict[str, str]) -> None:
    """Names and values have the spellings that clients use."""
    assert plain_upgrade.read(request(**changes))


@rows("at", range(0, len(request()), 7))
def test_not_whole(at: int) -> None:
    """A request that has not arrived in full is not read."""
    assert plain_upgrade.read(request()[:at]) is None
    assert plain_upgrade.read(request()[:-1]) is None


@rows(
    "start",
    [
        "",
        "POST /v1/stream HTTP/1.1",
        "HEAD /v1/stream HTTP/1.1",
        "GET /v1/stream HTTP/1.0",
        "GET /v1/stream HTTP/2.0",
        "GET /v1/stream?a=b HTTP/1.1",
        "GET /v1/stream/ HTTP/1.1",
        "GET //v1/stream HTTP/1.1",
        "GET /v1/%73tream HTTP/1.1",
        "GET /v1/echo HTTP/1.1",
        "GET http://notify.example/v1/stream HTTP/1.1",
        "GET  /v1/stream HTTP/1.1",
        "GET /v1/stream HTTP/1.1 ",
        "\r\nGET /v1/stream HTTP/1.1",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /v1/stream HTTP/1.1",
    ],
)
def test_other_requests(start: str) -> None:
    """Other methods, paths, versions and spellings of them are not read."""
    assert plain_upgrade.read(request(start)) is None


@rows(
    "changes",
    [
        {"Host": None},
        {"Host": ""},
        {"Host": "not a host"},
        {"Host": "user@notify.example"},
        {"Host": "notify_backend"},
        {"Host": "n\xf6tify.example"},
        {"Host": "notify..example"},
        {"Host": ".example"},
        {"Host": "."},
        {"Host": f"{'x' * 64}.example"},
        {"Host": "[::1"},
        {"Host": "notify.example:"},
        {"Host": "notify.example:123456"},
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Upgrade": "websocket, h2c"},
        {"Connection": None},
        {"Connection": "close"},
        {"Connection": "Upgrades"},
        {"Content_Length": "0"},
        {"Content_Length": "5"},
        {"Content_Type": "text/plain"},
        {"Transfer_Encoding": "chunked"},
        {"Expect": "100-continue"},
        {"If_None_Match": "x"},
        {"If_Match": "x"},
        {"Trailer": "x"},
        {"HTTP2_Settings": "x"},
        {"X_Forwarded_Proto": "https", "X_Forwarded_SSL": "off"},
        {"X_Tab": "a\tb"},
        {"X_Control": "a\x01b"},
        {"X_Feed": "a\nb"},
        {"X_Return": "a\rb"},
        {"X_Latin": "\xe9"},
        {"X_Delete": "\x7f"},
        {"X_Many": "x\r\n" + "\r\n".join(f"X-{number}: y" for number in range(64)) + "\r\nX: z"},
    ],
)
def test_unusual_headers(changes: dict[str, str | None]) -> None:
    """Headers that may have to be rejected, or have a meaning for a server, are left to it."""
    assert plain_upgrade.read(request(**changes)) is None


@rows(
    "line",
    ["host: other", "HOST: notify.example", "Upgrade: websocket", " folded", "\tfolded", "X_Y: z", "X Y: z", "X : y"]
    + [": y", "X", "X\xe9: y", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
)
def test_unusual_lines(line: str) -> None:
    """A header that is there twice, and a line that is not a plain header, are left to the server."""
    assert plain_upgrade.read(request("GET /v1/stream HTTP/1.1", line)) is None
