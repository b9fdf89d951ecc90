"""Configuration of a client: from its arguments, or from the environment."""

import os
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from websockets.http11 import Response
from websockets.typing import Subprotocol

from notifier.client.answer import Answer
from notifier.client.errors import ConfigurationError, Unreachable
from notifier.client.steps import SUBPROTOCOL

URL, API_KEY, TOKEN = "NOTIFIER_URL", "NOTIFIER_API_KEY", "NOTIFIER_TOKEN"
MAX_ANSWER = 64 << 20  # bytes: more than the answer to any batch
MAX_FRAME = 16 << 20  # bytes
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")  # the other end speaks plain HTTP
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Configuration(NamedTuple):
    """The URL of the service, without a slash at its end, and the credentials."""

    url: str
    api_key: str | None
    token: str | None

    @classmethod
    def of(
        cls, url: str | None, api_key: str | None, token: str | None, environ: Mapping[str, str] = os.environ
    ) -> "Configuration":
        """Return the configuration. Arguments that are None or empty are taken from the environment.

        Raises:
            ConfigurationError
        """
        url = url or environ.get(URL)
        if not url:
            raise ConfigurationError("The URL of the service is needed: give url, or set NOTIFIER_URL.", "url")
        api_key = _secret("API key", api_key or environ.get(API_KEY))
        return cls(_service_url(url), api_key, _secret("token", token or environ.get(TOKEN)))

    @property
    def stream_url(self) -> str:
        """The URL of the stream."""
        return "ws" + self.url.removeprefix("http") + "/v1/stream"

    def handshake(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the options of the library's `connect`."""
        return {
            "additional_headers": {"Authorization": f"Bearer {token}"},
            "subprotocols": [Subprotocol(SUBPROTOCOL)],
            "compression": None,
            "open_timeout": timeout,
            "close_timeout": 2,
            "ping_interval": None,  # the service pings
            "max_size": MAX_FRAME,
        }

    def refusal(self, response: Response) -> Answer:
        """Return the answer to a handshake that was rejected."""
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return Answer(self.url, response.status_code, headers, bytes(response.body))


def require_token(token: str | None) -> str:
    """Return the token of a user.

    Raises:
        ConfigurationError: it is None or empty, or it is an API key.
    """
    if not token:
        text = "A user's token is needed: give token or get_token, or set NOTIFIER_TOKEN."
        raise ConfigurationError(text, "token")
    if token.startswith("nk_"):
        raise ConfigurationError("This is an API key, not a user's token: listening needs a token.")
    return _secret("token", token) or token


def failure(url: str, error: Exception, *, is_permanent: bool = False) -> Unreachable:
    """Return an error of a library as the one that callers catch. `is_permanent`: a retry would not help."""
    text = str(error) or type(error).__name__
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Unreachable(f"The certificate of {url} is not trusted: {text}", is_permanent=True)
    if any(isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS for cause in _causes(error)):
        plain = url.replace("https:", "http:", 1).replace("wss:", "ws:", 1)
        return Unreachable(f"{url} does not answer with TLS: is it {plain}? ({text})", is_permanent=True)
    return Unreachable(f"Cannot reach {url}: {text.rstrip('.')}", is_permanent)


def _service_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises if it is not a number
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ConfigurationError(f"The URL {text} is wrong: {error}.") from error
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{text} is not the URL of a service: it must look like https://notify.example.com.")
    if parts.path.rstrip("/").endswith(("/v1", "/v1/stream", "/v1/notifications")):
        raise ConfigurationError(f"{text} is a URL within the service: leave out /v1 and everything after it.")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))


def _secret(name: str, text: str | None) -> str | None:
    if text is not None and not (text.isascii() and text.isprintable() and " " not in text):
        raise ConfigurationError(f"The {name} contains spaces, line breaks or other characters that no {name} has.")
    return text or None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
