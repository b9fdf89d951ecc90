"""Credentials: API keys, tokens in each place, and which pages may use the cookie or read an answer."""

import io
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug import Request

from notifier.errors import Forbidden, ForeignOrigin, InvalidApiKey, InvalidIdempotencyKey, InvalidToken, TokenExpired
from notifier.http import body
from notifier.http.credentials import Credentials, idempotency_key
from notifier.protocol import identity
from notifier.protocol.api_key import ApiKey
from notifier.settings import AuthSettings
from tests.kit.cases import rows
from tests.kit.credentials import credentials_of
from tests.kit.requests import request_of

FULL = ApiKey("full", "secret-of-the-full-key")
NARROW = ApiKey("narrow", "secret-of-the-narrow-key", frozenset({"publish"}))
SECRETS = ("the-secret-that-signs-" * 2, "the-secret-of-yesterday-" * 2)
SETTINGS = AuthSettings(
    api_keys=(FULL, NARROW), token_secrets=SECRETS, cookie="session", allowed_origins=("https://shop.example",)
)
CREDENTIALS = credentials_of(SETTINGS, lambda token: identity.verify(token, SECRETS, time.time()))
CORS = "Access-Control-Allow-Origin"


def token(user: str = "alice", seconds: float = 3600, secret: str = SECRETS[0]) -> str:
    return identity.sign(user, secret, time.time() + seconds)


def with_cookie(cookie: str, **options: Any) -> Request:
    """Return a request with a cookie, by default of a page of the service itself."""
    origin = {"origin": "https://notify.example"} if "origin" not in options else {}
    options = {"host": "notify.example"} | origin | options
    return request_of(cookie=cookie, **{name: text for name, text in options.items() if text is not None})


class TestKeys:
    @rows(
        "given",
        [
            f"Bearer {FULL.secret}",
            f"bearer {FULL.secret}",
            f"BEARER   {FULL.secret} ",
        ],
    )
    def test_valid(self, given: str) -> None:
        """The scheme is written in any case, and spaces around the key are ignored."""
        assert CREDENTIALS.require_key(request_of(authorization=given), "publish") is FULL

    @rows(
        "given",
        [
            None,
            "",
            " ",
            "Bearer",
            "Bearer ",
            FULL.secret,
            f"Basic {FULL.secret}",
            f"Token {FULL.secret}",
            f"Bearer{FULL.secret}",
            f"Bearer\t{FULL.secret}",
            f" Bearer {FULL.secret}",
            f"Bearer {FULL.secret}x",
            f"Bearer {FULL.secret[:-1]}",
            f"Bearer {FULL.secret.upper()}",
            f"Bearer {FULL.id}:{FULL.secret}",
            f'Bearer "{FULL.secret}"',
            f"Bearer {FULL.secret} {FULL.secret}",
            f"Bearer {FULL.secret},{NARROW.secret}",
            f"Bearer {FULL.secret},Bearer {FULL.secret}",  # two headers
            f"Bearer Bearer {FULL.secret}",
            "Bearer \xff\xfe",
            "Bearer " + "x" * 8000,
        ],
    )
    def test_invalid(self, given: str | None) -> None:
        """A missing, malformed or unknown key is rejected, and the answer names the scheme."""
        headers = {} if given is None else {"authorization": given}
        with pytest.raises(InvalidApiKey) as caught:
            CREDENTIALS.require_key(request_of(**headers), "publish")  # type: ignore[arg-type]
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_places(self) -> None:
        """A key is accepted in no other place: neither in the cookie nor in the query."""
        for request in (request_of(query=f"api_key={FULL.secret}"), with_cookie(f"session={FULL.secret}")):
            with pytest.raises(InvalidApiKey):
                CREDENTIALS.require_key(request, "publish")

    def test_each_key(self) -> None:
        """Each key of the settings is found, also the last one."""
        request = request_of(authorization=f"Bearer {NARROW.secret}")
        assert CREDENTIALS.require_key(request, "broadcast", "publish") is NARROW

    def test_scopes(self) -> None:
        """A key must have one of the scopes. An unknown key learns nothing of them."""
        with pytest.raises(Forbidden):
            CREDENTIALS.require_key(request_of(authorization=f"Bearer {NARROW.secret}"), "recall", "users")
        with pytest.raises(InvalidApiKey):
            CREDENTIALS.require_key(request_of(authorization="Bearer unknown"), "recall")

    def test_no_keys(self) -> None:
        """Without keys in the settings every request is rejected, also one with an empty key."""
        for given in ("", "Bearer", "Bearer "):
            with pytest.raises(InvalidApiKey):
                credentials_of(AuthSettings()).require_key(request_of(authorization=given), "publish")

    def test_token_is_no_key(self) -> None:
        """A user's token is not an API key, and an API key is not a token."""
        with pytest.raises(InvalidApiKey):
            CREDENTIALS.require_key(request_of(authorization=f"Bearer {token()}"), "publish")
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(request_of(authorization=f"Bearer {FULL.secret}"))

    def test_metrics_key(self) -> None:
        """The metrics key and API keys read the metrics. The metrics key is not an API key; an empty key is invalid."""
        closed = credentials_of(replace(SETTINGS, metrics_key="secret-of-prometheus"), CREDENTIALS._verify)
        for credentials, given in [
            (closed, "secret-of-prometheus"),
            (closed, NARROW.secret),
            (CREDENTIALS, FULL.secret),
        ]:
            credentials.require_metrics_key(request_of(authorization=f"Bearer {given}"))
        for credentials, given in [
            (closed, "secret-of-prometheu"),
            (closed, ""),
            (CREDENTIALS, ""),
            (CREDENTIALS, "x"),
        ]:
            with pytest.raises(InvalidApiKey):
                credentials.require_metrics_key(request_of(authorization=f"Bearer {given}"))
        with pytest.raises(InvalidApiKey):
            closed.require_key(request_of(authorization="Bearer secret-of-prometheus"), "publish")


class TestTokens:
    @rows("scheme", ["Bearer", "bearer", "BEARER "])
    def test_header(self, scheme: str) -> None:
        """A token is accepted in the header, whatever the origin."""
        request = request_of(authorization=f"{scheme} {token()}", origin="https://elsewhere.example")
        assert CREDENTIALS.require_identity(request).user == "alice"

    def test_rotation(self) -> None:
        """Tokens of each secret in the settings are accepted, and of no other."""
        assert CREDENTIALS.require_identity(request_of(authorization=f"Bearer {token(secret=SECRETS[1])}"))
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(request_of(authorization=f"Bearer {token(secret='another-secret-' * 3)}"))

    def test_expired(self) -> None:
        """An expired token has a problem of its own, in the header and in the cookie."""
        with pytest.raises(TokenExpired):
            CREDENTIALS.identity(request_of(authorization=f"Bearer {token(seconds=-10)}"))
        with pytest.raises(TokenExpired):
            CREDENTIALS.identity(with_cookie(f"session={token(seconds=-10)}"))

    @rows("given", ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer \xff", "bearer ..."])
    def test_malformed(self, given: str) -> None:
        """A malformed token in the header is rejected, even if the cookie has a valid one."""
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(request_of(authorization=given))
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(with_cookie(f"session={token()}", authorization=given))

    def test_two_headers(self) -> None:
        """Two tokens in two headers, which arrive as one, are none."""
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(request_of(authorization=f"Bearer {token()},Bearer {token()}"))

    def test_none(self) -> None:
        """A request without a token has no user."""
        for request in (request_of(), with_cookie(f"other={token()}"), request_of(query=f"token={token()}")):
            assert CREDENTIALS.identity(request) is None
            with pytest.raises(InvalidToken) as caught:
                CREDENTIALS.require_identity(request)
            assert caught.value.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_header_first(self) -> None:
        """A token in the header counts, not that in the cookie."""
        request = with_cookie(f"session={token('bob')}", authorization=f"Bearer {token()}")
        assert CREDENTIALS.require_identity(request).user == "alice"

    def test_other_scheme(self) -> None:
        """The password of a proxy in the header does not hide the cookie."""
        request = with_cookie(f"session={token()}", authorization="Basic YTpi")
        assert CREDENTIALS.require_identity(request).user == "alice"
        assert CREDENTIALS.identity(request_of(authorization="Basic YTpi")) is None


class TestCookies:
    @rows("cookie", ["a=b; session={}", "session={}; a=b", 'session="{}"', "a; session={};;"])
    def test_among_others(self, cookie: str) -> None:
        """The cookie is found among others, also in quotes."""
        assert CREDENTIALS.require_identity(with_cookie(cookie.format(token()))).user == "alice"

    def test_two(self) -> None:
        """Of two cookies with the name the first counts, as browsers send the one with the longest path first."""
        for first, second, user in ((token(), token("bob"), "alice"), (token("bob"), token(), "bob")):
            request = with_cookie(f"session={first}; session={second}")
            assert CREDENTIALS.require_identity(request).user == user
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(with_cookie(f"session=x; session={token()}"))

    def test_among_very_many(self) -> None:
        """The cookie is found behind thousands of others."""
        assert CREDENTIALS.require_identity(with_cookie("a=b;" * 16_000 + f"session={token()}")).user == "alice"

    @rows("cookie", ["session=", "session=x", "session=\xff", 'session="' + "\\101" * 16_000 + '"'])
    def test_malformed(self, cookie: str) -> None:
        """A malformed token in the cookie is rejected."""
        with pytest.raises(InvalidToken):
            CREDENTIALS.identity(with_cookie(cookie))

    @rows("cookie", ["", ";", "=", "Session={}", "session2={}", "xsession={}", "session {}", 'session="'])
    def test_other_cookies(self, cookie: str) -> None:
        """The name of the cookie is that of the settings, in the same case."""
        assert CREDENTIALS.identity(with_cookie(cookie.format(token()))) is None

    @rows("origin", ["https://notify.example", "http://notify.example", "https://shop.example"])
    @rows("method", ["GET", "POST", "PUT"])
    def test_own_origin(self, origin: str, method: str) -> None:
        """Pages of the service's own origin and of those in the settings may use the cookie."""
        assert CREDENTIALS.identity(with_cookie(f"session={token()}", origin=origin, method=method))

    @rows(
        "origin",
        [
            "",
            "null",
            "*",
            "https://elsewhere.example",
            "http://shop.example",
            "https://shop.example:8443",
            "https://shop.example.elsewhere.example",
            "https://sub.notify.example",
            "https://notify.example.elsewhere.example",
            "https://notify.example:8443",
            "https://notify.example:80",
            "http://notify.example:443",
            "https://notify.example/",
            "https://notify.example..",
            "https://@notify.example",
            "https://notify.example:443:443",
            "https://notify.example:000443000",
            "ftp://notify.example",
            "notify.example",
            "https://elsewhere.example, https://notify.example",
        ],
    )
    @rows("method", ["GET", "POST"])
    def test_foreign_origin(self, origin: str, method: str) -> None:
        """Pages of other origins may not use the cookie."""
        with pytest.raises(ForeignOrigin):
            CREDENTIALS.identity(with_cookie(f"session={token()}", origin=origin, method=method))

    @rows(
        ("host", "origin"),
        [
            ("notify.example:443", "https://notify.example"),
            ("notify.example", "https://notify.example:443"),
            ("notify.example:80", "http://notify.example"),
            ("Notify.Example", "https://notify.example"),
            ("notify.example", "HTTPS://NOTIFY.example"),
            ("notify.example.", "https://notify.example"),
            ("notify.example.:443", "https://notify.example"),
            ("notify.example", "https://notify.example."),
            ("notify.example:8443", "https://notify.example:8443"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("b\xfccher.example", "https://xn--bcher-kva.example"),
        ],
    )
    def test_spellings(self, host: str, origin: str) -> None:
        """Capitals, a default port and a dot at the end of the host make no other origin."""
        assert CREDENTIALS.identity(with_cookie(f"session={token()}", origin=origin, host=host))

    @rows("site", ["same-site", "cross-site"])
    def test_other_scheme(self, site: str) -> None:
        """A page that answers plain HTTP for the host is foreign, if the browser reports that."""
        options = {"origin": "http://notify.example", "sec_fetch_site": site}
        with pytest.raises(ForeignOrigin):
            CREDENTIALS.identity(with_cookie(f"session={token()}", **options))
        allowed = with_cookie(f"session={token()}", origin="https://shop.example", sec_fetch_site=site)
        assert CREDENTIALS.identity(allowed)

    def test_public_url(self) -> None:
        """With a public URL its origin is the only own one, whatever the Host."""
        settings = replace(SETTINGS, public_url=("https://notify.example",))
        credentials = credentials_of(settings, lambda token: identity.verify(token, SECRETS, time.time()))
        for origin in ("https://notify.example", "https://shop.example"):
            assert credentials.identity(with_cookie(f"session={token()}", origin=origin, host="worker-1:8080"))
        for host, origin in (
            ("notify.example", "http://notify.example"),
            ("evil.example", "https://evil.example"),
            ("worker-1:8080", "http://worker-1:8080"),
        ):
            with pytest.raises(ForeignOrigin):
                credentials.identity(with_cookie(f"session={token()}", origin=origin, host=host))

    def test_without_origin(self) -> None:
        """A request without an Origin may use the cookie only if it is a plain GET."""
        for method in ("GET", "HEAD"):
            assert CREDENTIALS.identity(with_cookie(f"session={token()}", origin=None, method=method))
        for method in ("POST", "PUT", "DELETE"):
            with pytest.raises(ForeignOrigin):
                CREDENTIALS.identity(with_cookie(f"session={token()}", origin=None, method=method))
        with pytest.raises(ForeignOrigin):
            CREDENTIALS.identity(with_cookie(f"session={token()}", origin=None, method="GET", upgrade="websocket"))

    @rows(("site", "is_own"), [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False)])
    def test_site(self, site: str, is_own: bool) -> None:
        """A plain GET that another site's page caused is rejected, if the browser reports that."""
        request = with_cookie(f"session={token()}", origin=None, method="GET", sec_fetch_site=site)
        if is_own:
            assert CREDENTIALS.identity(request)
        else:
            with pytest.raises(ForeignOrigin):
                CREDENTIALS.identity(request)

    def test_no_host(self) -> None:
        """Without a Host header every origin is foreign."""
        for origin in ("https://", "http://", "https://None"):
            request = with_cookie(f"session={token()}", origin=origin)
            del request.environ["HTTP_HOST"]
            with pytest.raises(ForeignOrigin):
                CREDENTIALS.identity(request)

    def test_malformed_from_elsewhere(self) -> None:
        """Another site's page does not learn whether the cookie is valid."""
        for text in (token(), token(seconds=-10), "x"):
            with pytest.raises(ForeignOrigin):
                CREDENTIALS.identity(with_cookie(f"session={text}", origin="https://elsewhere.example"))


class HeldBack(io.BytesIO):
    """A body that arrives when `now` is so many seconds later."""

    def __init__(self, now: list[float], seconds: float) -> None:
        super().__init__(b"{}")
        self._now, self._seconds = now, seconds

    def read(self, size: int | None = -1, /) -> bytes:
        self._now[0] += self._seconds
        self._seconds = 0
        return super().read(size)


@pytest.mark.parametrize("scope", ["admin", None])
@pytest.mark.parametrize(
    ("seconds", "is_revoked", "is_rejected"), [(60, False, False), (60, True, True), (0.1, True, False)]
)
def test_revoked_during_the_body(
    scope: str | None, seconds: float, is_revoked: bool, is_rejected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key, or a token, that is revoked while the body of its request is held back is rejected."""
    now: list[float] = [0.0]
    revoked: list[str] = []
    monkeypatch.setattr(body, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def find(text: str) -> Any:
        if text in revoked:
            raise InvalidApiKey()
        return FULL

    credentials = Credentials(SETTINGS, find, find)
    request = request_of(HeldBack(now, seconds), authorization="Bearer secret")
    _ = credentials.require_key(request, scope) if scope else credentials.require_identity(request)
    revoked += ["secret"] * is_revoked
    if is_rejected:
        with pytest.raises(InvalidApiKey):
            body.read(request, 100)
    else:
        assert body.read(request, 100) == b"{}"


class TestSharing:
    def test_no_origin(self) -> None:
        """A request that no page of another origin sent needs no headers."""
        assert CREDENTIALS.sharing(request_of()) == {}

    @rows("origin", ["https://elsewhere.example", "null", "*", "https://shop.example/", ""])
    def test_any_origin(self, origin: str) -> None:
        """Any page may read an answer to a token in a header, but not one to the cookie."""
        headers = CREDENTIALS.sharing(request_of(origin=origin))
        assert headers[CORS] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        assert "ETag" in headers["Access-Control-Expose-Headers"]

    def test_allowed_origin(self) -> None:
        """Pages of the origins in the settings may read answers to the cookie, too."""
        headers = CREDENTIALS.sharing(request_of(origin="https://shop.example"))
        assert headers[CORS] == "https://shop.example"
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Vary"] == "Origin"
        assert "ETag" in headers["Access-Control-Expose-Headers"]


class TestIdempotencyKey:
    @rows("given", ["k", '"k"', ' "k" ', " k "])
    def test_quotes(self, given: str) -> None:
        """Spaces around a key are ignored, and a quoted string is the same key."""
        assert idempotency_key(request_of(idempotency_key=given), FULL) == "full:k"

    @rows(("given", "key"), [('k"', "k%22"), ('k"l', "k%22l"), ('"k\\""', "k%22"), ('"\\\\"', "%5C"), ("k\\", "k%5C")])
    def test_quotes_within(self, given: str, key: str) -> None:
        """Quotes at another place belong to the key."""
        assert idempotency_key(request_of(idempotency_key=given), FULL) == f"full:{key}"

    def test_none(self) -> None:
        """A request without the header has no key."""
        assert idempotency_key(request_of(), FULL) == ""

    @rows("given", ["", " ", '"', '""', '"k', '""k""', '"a\\b"', '"k" ;a', "x" * 256, "\xe4", "a\tb"])
    def test_invalid(self, given: str) -> None:
        """An empty, long or unprintable key is rejected, not ignored."""
        with pytest.raises(InvalidIdempotencyKey):
            idempotency_key(request_of(idempotency_key=given), FULL)

    def test_distinct(self) -> None:
        """API keys have separate idempotency keys, even if the id of one is the beginning of another's."""
        keys = {
            idempotency_key(request_of(idempotency_key="k"), FULL._replace(id=id)) for id in ("a", "b", "a:k", "@a")
        }
        assert len(keys) == 4
