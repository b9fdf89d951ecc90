"""URLs that a click may lead to."""

import pytest

from notifier.protocol import urls


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/orders/1042?a=b#c",
        "/search?next=//example.org@x",
        "https://example.org",
        "HTTPS://A.example/",
        "Http://example.org:8080",
        "http://example.org:/",
        "http://example.org/a b",
        "https://example.org/x@y?z=a:b",
        "https://example.org?x",
        "https://b\u00fccher.example/",
        "http://127.0.0.1:8080/",
        "http://[::1]:8080/",
        "http://example.org.:80/",
        "http://localhost/",
        "https://a_b.example/",
    ],
)
def test_safe(url: str) -> None:
    """A path of this site, and a web address that every browser takes, are safe."""
    assert urls.is_safe(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "orders",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "ftp://example.org",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "\\\\evil.example",
        "https://",
        "http://[",
        "https://exa mple.com/x",
        "https://<>",
        "https://a^b.example/",
        "https://a|b.example/",
        "https://a%00b.example/",
        "https://good.example@evil.example/",
        "https://user:password@evil.example/",
        "https://@evil.example/",
        "https://example.org:99999/",
        "https://example.org:0/",
        "https://example.org:8o/",
        "https://example.org:80:80/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://example.1/",
        "http://[::1",
        "http://[g::1]/",
        "http://[1.2.3.4]/",
        "https://./",
        "https://?x",
        "https://#x",
    ],
)
def test_unsafe(url: str) -> None:
    """URLs that run a script, hide another site, or are not taken by browsers are not safe."""
    assert not urls.is_safe(url)
