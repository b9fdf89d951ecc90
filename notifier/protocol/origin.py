"""Origins of pages (RFC 6454): scheme, host and port, in one spelling, so that they can be compared."""

import re
from urllib.parse import urlsplit

_FORM = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@\\\[\]:,*%]+)(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII
)
# Headers that pages of other origins may read, on every answer.
EXPOSED = {"Access-Control-Expose-Headers": "ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"}
_PORTS = {"http": 80, "https": 443}
_MAX_HOST = 253  # characters (RFC 1035 section 2.3.4); a header has room for more, and Unicode takes long to encode


def normalize(text: str) -> str | None:
    """Return an origin in lower case, without the default port and without a dot at its end; None: it is no origin."""
    parts = _FORM.fullmatch(text)
    if not parts:
        return None
    scheme, host, port = parts[1].lower(), parts[2].lower().removesuffix("."), int(parts[3] or 0)
    if not 0 < len(host) <= _MAX_HOST or port > 65535:
        return None
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return None
    return f"{scheme}://{host}" if port in (0, _PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def of_host(host: str) -> tuple[str | None, str | None]:
    """Return the origins of the pages of a `Host`, with https and with http."""
    return normalize(f"https://{host}"), normalize(f"http://{host}")


def parse(text: str) -> tuple[str, ...]:
    """Return the origins of a setting, which are separated by commas.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    origins = [(word, normalize(word.removesuffix("/"))) for word in words]
    for word, origin in origins:
        if origin is None:
            raise ValueError(f"has {word!r}, which is no origin such as https://shop.example.com")
    return tuple(dict.fromkeys(origin for _, origin in origins if origin))


def parse_urls(text: str) -> tuple[str, ...]:
    """Return the origins of the http(s) URLs of a setting, which are separated by commas.

    Raises:
        ValueError: see `parse`.
    """
    return tuple(dict.fromkeys(_of_url(word.strip()) for word in text.split(",") if word.strip()))


def _of_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        origin = normalize(f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        origin = None
    if origin is None or not origin.startswith(("http://", "https://")):
        raise ValueError("is no URL such as https://notify.example.com")
    return origin
