"""URLs that a click may lead to."""

from notifier.protocol import urls
from tests.kit.cases import rows


@rows(
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
        "https://a..example/",
        "http://example.org:0080/",
        "https://xn--bcher-kva.example/",
        "https://XN--BCHER-KVA.example/",
        "https://xn--strae-oqa.example/",
        "https://\u65e5\u672c\u3002example/",
        "https://example\uff0eorg/",
        "https://\u05d0\u05d1.example/",
        "https://\U0001f600.example/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://0x7f.example/",
        f"https://{'a.' * 126}a/",
    ],
)
def test_safe(url: str) -> None:
    """A path of this site, and a web address that every browser takes, are safe."""
    assert urls.is_safe(url)


@rows(
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
        "https://example.org:1000080/",
        "https://[::1]:1000080/",
        f"https://example.org:{'9' * 5000}/",
        "https://example.org:8o/",
        "https://example.org:80:80/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://example.1/",
        "http://example.\uff11/",
        "https://a.0x1/",
        "http://a.0x/",
        "http://1.2.3.0x100/",
        "https://good.example\uff20evil.example/",
        "https://good.example\uff0fevil.example/",
        "https://good.example\uff05evil.example/",
        "https://good\u2024example/",
        "https://good.example\u2100.evil.example/",
        "https://\uff1a80/",
        "https://\u0301a.example/",
        "https://a\ufffd.example/",
        "https://a\u05d0.example/",
        "https://xn--a/",
        "https://xn--/",
        "https://xn--abc-.example/",
        "https://xn--\u00fc.example/",
        "https://\uff58n--a.example/",
        "https://xn--99999999999/",
        f"https://xn--{'a' * 60}/",
        f"https://{'a.' * 127}a/",
        "https://\u3002/",
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


@rows(
    "url",
    [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.0.0.01/",
        "/x\u3000",
        "https://a%62.example/",
    ],
)
def test_not_visible(url: str) -> None:
    """Browsers take these, but nobody sees where they lead."""
    assert not urls.is_safe(url)
