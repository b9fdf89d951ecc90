"""Credentials: which backend or user sends a request, and which page may read its answer."""

import hmac
import re
from collections.abc import Callable
from functools import partial

from werkzeug import Request
from werkzeug.sansio.http import parse_cookie

from notifier.errors import ForeignOrigin, InvalidApiKey, InvalidIdempotencyKey, InvalidToken
from notifier.http.body import CONFIRM
from notifier.limits.requests import RequestLimits
from notifier.protocol.api_key import CHALLENGE, SCOPES, ApiKey
from notifier.protocol.identity import Identity
from notifier.protocol.origin import EXPOSED, normalize, of_host
from notifier.protocol.publishing import idempotency_key as distinct_key
from notifier.settings import AuthSettings

_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"')  # RFC 8941 section 3.3.3
_ESCAPED = re.compile(r'\\(["\\])')


class Credentials:
    """Checks the API keys of backends, and the tokens of users, which are in a header or in the cookie.

    They are checked again after a body that took long: otherwise a request that was begun in time, with a body that is
    held back, would outlast the revocation of its key by minutes.

    `verify` returns the identity of a token and `find_key` the API key with a text, or they raise; both may wait.
    `limits` counts requests and failures.
    """

    def __init__(
        self,
        settings: AuthSettings,
        verify: Callable[[str], Identity],
        find_key: Callable[[str], ApiKey],
        limits: RequestLimits | None = None,
    ) -> None:
        self._verify = verify
        self._find_key = find_key
        self._limits = limits
        self._settings = settings
        self._cookie = re.compile(rf"(?:^|;)\s*({re.escape(settings.cookie)}\s*=[^;]*)")

    def require_key(self, request: Request, *scopes: str) -> ApiKey:
        """Return the API key of a request. The key must have one of the scopes.

        Raises:
            InvalidApiKey, Forbidden, RateLimited
            BrokerUnavailable: managed keys are not known yet.
        """
        limits = self._limits
        try:
            key = self.key_of(request)
        except InvalidApiKey:
            if limits and _bearer(request):
                limits.failed(request.environ)
            raise
        if limits:
            limits.enter_key(request.environ, key.load)
        key.require_scope(scopes)
        return key

    def key_of(self, request: Request) -> ApiKey:
        """Return the API key of a request, without counting anything: `require_key` has admitted the request.

        Raises:
            InvalidApiKey
            BrokerUnavailable: managed keys are not known yet.
        """
        given = _bearer(request)
        if not given:
            raise InvalidApiKey("Send Authorization: Bearer <api key>.", headers=CHALLENGE)
        request.environ[CONFIRM] = partial(self._find_key, given)
        return self._find_key(given)

    def require_metrics_key(self, request: Request) -> None:
        """Accept the key of the metrics, and any API key of the default tenant.

        Raises:
            InvalidApiKey, Forbidden
        """
        known = self._settings.metrics_key.encode()
        if not known or not hmac.compare_digest(known, _bearer(request).encode()):
            self.require_key(request, *SCOPES).require_default_tenant()

    def identity(self, request: Request) -> Identity | None:
        """Return the user of a request; None: it has no token.

        Raises:
            InvalidToken, TokenExpired: the token is rejected.
            IssuerUnavailable: the token cannot be verified now.
            ForeignOrigin: the token is in a cookie, and another site's page may have caused the request.
            RateLimited
        """
        token = self.token_of(request)
        return None if token is None else self._admit(request, token)

    def token_of(self, request: Request) -> str | None:
        """Return the token of a request, which may not be valid; None: it has none.

        Raises:
            ForeignOrigin: the token is in a cookie, and another site's page may have caused the request.
        """
        headers = request.headers
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
        cookie = self._cookie_of(headers["Cookie"]) if "Cookie" in headers else None
        if cookie is not None and not self._is_own_page(request):
            raise ForeignOrigin(f"{headers.get('Origin') or 'A request without an Origin'} may not use the cookie.")
        return cookie

    def require_identity(self, request: Request) -> Identity:
        """Return the user of a request.

        Raises:
            InvalidToken: there is no token, or it is rejected.
            TokenExpired, IssuerUnavailable, ForeignOrigin, RateLimited: see `identity`.
        """
        who = self.identity(request)
        if who is None:
            raise InvalidToken("Send Authorization: Bearer <token>, or the cookie.", headers=CHALLENGE)
        return who

    def sharing(self, request: Request) -> dict[str, str]:
        """Return the headers that allow pages of other origins to read the answer.

        Any page may send a token in a header. Only pages of the origins in the settings may use the cookie.
        """
        origin = request.headers.get("Origin")
        if origin is None:
            return {}
        if normalize(origin) not in self._settings.allowed_origins:
            return {"Access-Control-Allow-Origin": "*", **EXPOSED}
        own = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
        return own | EXPOSED

    def _admit(self, request: Request, token: str) -> Identity:
        """Return the user of a token, for whom the request counts."""
        limits = self._limits
        request.environ[CONFIRM] = partial(self._verify, token)
        if limits is None:
            return self._verify(token)
        try:
            who = self._verify(token)
        except InvalidToken:
            limits.failed(request.environ)
            raise
        limits.enter_user(request.environ, who.user)
        return who

    def _cookie_of(self, header: str) -> str | None:
        """Return the cookie with the token; None: there is none. Others are not read: there may be thousands."""
        found = self._cookie.search(header)
        if not found:
            return None
        # No token has an escape, and thousands of them take long to read.
        return found[1] if "\\" in found[1] else parse_cookie(found[1]).get(self._settings.cookie)

    def _is_own_page(self, request: Request) -> bool:
        """Return whether the request comes from a page that may use the cookie.

        Browsers send an Origin with every handshake and with every request that changes something, but not with a
        plain GET of the same origin. If another site causes such a GET, its page cannot read the answer.
        """
        headers = request.headers
        given, is_same_site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        if given is None and request.method in ("GET", "HEAD") and "Upgrade" not in headers:
            return is_same_site
        origin = normalize(given or "")
        if origin is None:
            return False
        return (is_same_site and origin in self._own_origins(request)) or origin in self._settings.allowed_origins

    def _own_origins(self, request: Request) -> tuple[str | None, ...]:
        """Return the origins of the service's own pages.

        Unless the settings name one, it is not known whether a proxy terminates TLS, so both schemes are possible.
        Browsers that send Sec-Fetch-Site distinguish a page with the other scheme.
        """
        if self._settings.public_url:
            return self._settings.public_url
        return of_host(request.environ.get("HTTP_HOST", ""))


def _bearer(request: Request) -> str:
    """Return the key in a request's header; empty: there is none."""
    scheme, _, given = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def idempotency_key(request: Request, key: ApiKey) -> str:
    """Return the idempotency key of a request, made distinct for each API key; empty: none.

    Raises:
        InvalidIdempotencyKey
    """
    given = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return ""
    return distinct_key(key.id, _unquoted(given.strip()))


def _unquoted(text: str) -> str:
    """Return the key in a header. The draft standard has a quoted string (RFC 8941), most clients send no quotes.

    Raises:
        InvalidIdempotencyKey: the text begins like a quoted string, but is none.
    """
    if not text.startswith('"'):
        return text
    if not _QUOTED.fullmatch(text):
        raise InvalidIdempotencyKey("A key that begins with a quote must be a quoted string (RFC 8941).")
    return _ESCAPED.sub(r"\1", text[1:-1])
