"""Variables: the values of texts, and the errors for invalid ones."""

import pytest

from notifier import variables
from tests.kit.cases import rows


@rows("text, value", [("1", True), ("TRUE", True), ("on", True), ("", False), ("0", False), ("No", False)])
def test_flag(text: str, value: bool) -> None:
    """A switch is written in several ways."""
    assert variables.flag(text) is value


@rows("text", ["2", " ", "ja", "01"])
def test_no_flag(text: str) -> None:
    """Anything else is neither on nor off."""
    with pytest.raises(ValueError, match="neither 1 nor 0"):
        variables.flag(text)


def test_words() -> None:
    """Spaces and empty parts do not count."""
    assert variables.words(" a, b c ,, d,") == ("a", "b c", "d")
    assert variables.words("") == ()


def test_claim() -> None:
    """A claim has a name."""
    assert variables.claim("https://example.org/user") == "https://example.org/user"
    with pytest.raises(ValueError):
        variables.claim("")


@rows(
    "text",
    [
        "",
        "redis://h:1/2",
        "redis://",
        "redis://h/",
        "rediss://u:p@h",
        "rediss://h/0?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem",
        "redis://:p%23%3F%2Fa@h:6379/3",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
        "unix://:p@/run/redis.sock?db=2",
    ],
)
def test_redis_url(text: str) -> None:
    """A URL of Redis is returned as it is."""
    assert variables.redis_url(text) == text


def test_scheme() -> None:
    """The scheme is written in any case; the library takes only one."""
    assert variables.redis_url("REDIS://H:1") == "redis://H:1"


@rows(
    ("text", "said"),
    [
        ("h:1", "must begin with"),
        ("http://h", "must begin with"),
        ("redis://u:word/a@h:x", "is not a URL"),
        ("redis://[", "is not a URL"),
        ("redis://h:word", "is not a URL"),
        ("redis://h:70000", "is not a URL"),
        ("redis://h/word", "not a number"),
        ("redis://h/0/word", "not a number"),
        ("redis://h/1?db=word", "not a number"),
        ("redis://h/\u0661", "not a number"),
        ("unix:///redis.sock?db=word", "not a number"),
        ("unix://", "the path of a socket"),
        ("redis://h?timeout=word", "unknown parameter"),
        ("redis://h?socket_timeout=1", "unknown parameter"),
        ("redis://:1#word@h", "percent-encoded"),
        ("redis://:1?word@h", "percent-encoded"),
        ("redis://h/0#", "unknown parameter"),
    ],
)
def test_no_redis_url(text: str, said: str) -> None:
    """The error for other texts contains no part of them, which may be a part of a password."""
    with pytest.raises(ValueError, match=said) as caught:
        variables.redis_url(text)
    assert "word" not in str(caught.value).replace("password", "")


@rows(
    ("text", "address"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("127.0.0.1", "127.0.0.1:8080"),
        ("localhost", "localhost:8080"),
        ("localhost:", "localhost:8080"),
        ("host-1.example:80", "host-1.example:80"),
        ("[::1]", "[::1]:8080"),
        ("[::]:80", "[::]:80"),
        (":9000", ":9000"),
        ("unix:/run/notifier.sock", "unix:/run/notifier.sock"),
        ("fd://3", "fd://3"),
    ],
)
def test_address(text: str, address: str) -> None:
    """An address without a port has the default port."""
    assert variables.address(text) == address


@rows(
    "text",
    [
        "",
        "8080",
        "127.0.0.1:99999",
        "localhost:port",
        "a:1:2",
        "::1",
        "http://localhost:8080",
        "a b",
        "unix:",
        "a/b",
        ":",
    ],
)
def test_no_address(text: str) -> None:
    """Other texts are rejected with examples."""
    with pytest.raises(ValueError, match="such as 127.0.0.1:8080"):
        variables.address(text)


@rows(
    ("address", "is_loopback"),
    [
        ("127.0.0.1:8080", True),
        ("127.1.2.3:8080", True),
        ("LOCALHOST:8080", True),
        ("[::1]:8080", True),
        ("unix:/run/notifier.sock", True),
        ("0.0.0.0:8080", False),
        (":8080", False),
        ("[::]:8080", False),
        ("127.example:8080", False),
        ("127.0.0.1.example:8080", False),
        ("localhost.example:8080", False),
        ("fd://3", False),
    ],
)
def test_loopback(address: str, is_loopback: bool) -> None:
    """Names of other machines do not count, whatever they begin with."""
    assert variables.is_loopback(address) is is_loopback


@rows("text", ["", "a b", "a;b", "a=b", "\u00fc", 'a"b', "a\n"])
def test_no_cookie(text: str) -> None:
    """A name that no browser sends is rejected."""
    with pytest.raises(ValueError, match="must be a name"):
        variables.cookie_name(text)


@rows("text", ["", "a b", "a:b", "{a", "a}", "a\n"])
def test_no_prefix(text: str) -> None:
    """A prefix that would change the hash tag of keys is rejected."""
    with pytest.raises(ValueError, match="must be a word"):
        variables.key_prefix(text)


def test_numbers() -> None:
    """A number is read within its limits; Python reads at most 4,300 digits of a whole number."""
    assert variables.read("7", int, 1, "bytes") == 7
    assert variables.read("0.5", float, 0, "seconds") == 0.5
    for text in ("9" * 5000, "1073741825", "0", "-1", "x"):
        with pytest.raises(ValueError, match="must be"):
            variables.read(text, int, 1, "bytes")
    with pytest.raises(ValueError, match="at most 604800"):
        variables.read("604801", float, 0, "seconds")
