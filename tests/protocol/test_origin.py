"""Origins: one spelling of each, and the settings that have them."""

import pytest

from notifier.protocol.origin import normalize, parse, parse_urls
from tests.kit.cases import rows


@rows(
    ("text", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://shop.example.", "https://shop.example"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://a_b.example", "https://a_b.example"),
        (f"https://{'a.' * 120}shop.example", f"https://{'a.' * 120}shop.example"),
    ],
)
def test_origin(text: str, origin: str) -> None:
    """Origins are compared as RFC 6454 has it."""
    assert normalize(text) == origin
    assert parse(f" {text} ,{text}/,, {text}") == (origin,)


@rows(
    "text",
    [
        "*",
        "null",
        "shop.example",
        "//shop.example",
        "https://",
        "https://*.shop.example",
        "https://shop.example/path",
        "https://shop.example?a",
        "https://user@shop.example",
        "https://shop.example:port",
        "https://shop.example:99999",
        "https://shop.example https://other.example",
        "https://shop\\.example",
        "https://.",
        f"https://{'a.' * 124}shop.example",  # longer than any domain: to encode one takes time
        f"https://{chr(0xFC) + '.'}{'b.' * 123}shop.example",
    ],
)
def test_no_origin(text: str) -> None:
    """Everything else matches no page, so it is a mistake in a setting."""
    assert normalize(text) is None
    with pytest.raises(ValueError, match="is no origin such as https://shop.example.com"):
        parse(f"https://shop.example,{text}")


@rows(
    ("text", "origins"),
    [
        ("", ()),
        ("https://Notify.example/", ("https://notify.example",)),
        ("https://notify.example:443/below/", ("https://notify.example",)),
        ("http://localhost:8080", ("http://localhost:8080",)),
        ("https://a.example, http://b:8080/,https://A.example:443", ("https://a.example", "http://b:8080")),
    ],
)
def test_urls(text: str, origins: tuple[str, ...]) -> None:
    """Of a URL the path does not count. There may be several."""
    assert parse_urls(text) == origins


@rows(
    "text",
    ["notify.example", "https://a.example,b", "ftp://notify.example", "https://", "https://[", "https://a@b", "x"],
)
def test_no_url(text: str) -> None:
    """A URL begins with http:// or https:// and has a host."""
    with pytest.raises(ValueError, match="is no URL such as"):
        parse_urls(text)
