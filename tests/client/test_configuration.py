"""The configuration that a client is given."""

import ssl

import pytest

from notifier.client.configuration import Configuration, failure, require_token
from notifier.client.errors import ConfigurationError
from tests.kit.cases import rows

NOTHING: dict[str, str] = {}


@rows(
    "url, base, stream",
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/stream"),
        ("https://a.example.com/", "https://a.example.com", "wss://a.example.com/v1/stream"),
        ("https://a.example.com/notify/", "https://a.example.com/notify", "wss://a.example.com/notify/v1/stream"),
        ("wss://a.example.com", "https://a.example.com", "wss://a.example.com/v1/stream"),
    ],
)
def test_urls(url: str, base: str, stream: str) -> None:
    """The URLs of requests and of streams are derived from one URL."""
    configuration = Configuration.of(url, None, None, NOTHING)
    assert (configuration.url, configuration.stream_url) == (base, stream)


@rows(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://a",
        "http://",
        "http://a:port",
        "http://a..b",
        "http://[::1",
        "http://[x]",
        "http://a?x=1",
        "http://a#b",
    ]
    + ["http://a/v1", "http://a/v1/", "ws://a/v1/stream", "https://a/notify/v1/notifications"],
)
def test_wrong_urls(url: str) -> None:
    """A URL that cannot be that of a service is rejected before anything is sent."""
    with pytest.raises(ConfigurationError, match="URL"):
        Configuration.of(url, None, None, NOTHING)


def test_environment() -> None:
    """Arguments that are not given come from the environment; arguments that are given take precedence."""
    environ = {"NOTIFIER_URL": "http://a", "NOTIFIER_API_KEY": "key", "NOTIFIER_TOKEN": "token"}
    assert Configuration.of(None, None, None, environ) == ("http://a", "key", "token")
    assert Configuration.of("http://b", "k", "t", environ) == ("http://b", "k", "t")
    with pytest.raises(ConfigurationError, match="NOTIFIER_URL"):
        Configuration.of(None, None, None, NOTHING)


@rows("secret", ["with blank", "with\nbreak", "schlüssel"])
def test_wrong_secrets(secret: str) -> None:
    """A secret that no header can carry is rejected, without being shown."""
    with pytest.raises(ConfigurationError) as raised:
        Configuration.of("http://a", secret, None, NOTHING)
    assert secret not in str(raised.value)


def test_tokens() -> None:
    """A stream requires a token, and an API key is not a token."""
    assert require_token("abc") == "abc"
    for wrong in (None, "", "nk_an_api_key"):
        with pytest.raises(ConfigurationError):
            require_token(wrong)


def test_failures() -> None:
    """A wrong certificate is distinguished from a service that cannot be reached."""
    assert not failure("http://a", OSError("refused")).is_permanent
    error = OSError("handshake")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    assert failure("https://a", error).is_permanent
    plain = OSError("connect")
    plain.__cause__ = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    plain.__cause__.reason = "WRONG_VERSION_NUMBER"
    assert failure("https://a:8080", plain).is_permanent
    assert "is it http://a:8080?" in str(failure("https://a:8080", plain))
    assert "is it ws://a?" in str(failure("wss://a", plain))
    assert failure("http://a", OSError("illegal"), is_permanent=True).is_permanent
    assert str(failure("http://a", TimeoutError())) == "Cannot reach http://a: TimeoutError"
