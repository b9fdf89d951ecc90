"""Tokens of secrets and of issuers: which key verifies them, and what is remembered."""

import base64
import functools
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth import tokens as module
from notifier.auth.revocations import Revocations
from notifier.auth.tokens import Tokens
from notifier.errors import BrokerUnavailable, InvalidToken, IssuerUnavailable, Problem, TokenExpired
from notifier.protocol import identity, jwk
from notifier.protocol.identity import LEEWAY, KeysPending
from notifier.settings import AuthSettings, Settings
from tests.kit.cases import rows
from tests.kit.issuers import KeyServer, SigningKey, key_server, key_set, with_claims
from tests.kit.waiting import DEADLINE, eventually

SECRET = "the-secret-that-signs-" * 2
ONE, TWO = "https://one.example/", "https://two.example/"
KEYS = {algorithm: SigningKey(algorithm) for algorithm in jwk.ALGORITHMS}
FOREIGN = SigningKey()
NOW, LIFETIME = time.time(), 86_400  # seconds: longer than all tests take


class NoList:
    """An empty list of revocations that accepts none."""

    def add(self, name: str, before: float, kept: float) -> None:
        raise AssertionError

    def since(self, version: int) -> tuple[int, list[Any]]:
        return 0, []


def settings_of(*issuers: dict[str, Any], **others: Any) -> AuthSettings:
    variables = {"token_secrets": SECRET, "token_issuers": json.dumps(issuers)} | others
    return Settings.from_environ({f"NOTIFIER_{name.upper()}": str(text) for name, text in variables.items()}).auth


def no_revocations() -> Revocations:
    revocations = Revocations(NoList(), 100, lambda: None)  # type: ignore[arg-type]
    revocations.update()
    return revocations


def tokens_of(*issuers: dict[str, Any], **others: Any) -> Tokens:
    return Tokens(settings_of(*issuers, **others), no_revocations())


def fixed(name: str, *keys: SigningKey, **others: Any) -> dict[str, Any]:
    return {"issuer": name, "jwks": json.loads(key_set(*keys))} | others


def claims(issuer: str = ONE, **others: Any) -> dict[str, Any]:
    return {"iss": issuer, "sub": "alice", "iat": int(NOW), "exp": int(NOW) + LIFETIME} | others


@functools.cache
def known() -> Tokens:
    """Return tokens of both issuers. It makes their keys, which most processes that import this need not."""
    return tokens_of(fixed(ONE, *KEYS.values()), fixed(TWO, FOREIGN))


@pytest.mark.parametrize("algorithm", jwk.ALGORITHMS)
def test_each_algorithm(algorithm: str) -> None:
    """A token of an issuer is verified with the key that it names, also when it comes again."""
    token = KEYS[algorithm].sign(claims(topics=["orders"]))
    for _ in range(2):
        who = known().verify(token, NOW)
        assert (who.user, who.topics, who.issued) == ("alice", ("orders",), int(NOW))
    for _ in range(2):
        with pytest.raises(InvalidToken):
            known().verify(with_claims(token, sub="mallory"), NOW)


def test_secret() -> None:
    """Tokens that are signed with a secret are verified as before, with and without issuers."""
    token = identity.sign("bob", SECRET, NOW + 60)
    assert known().verify(token, NOW).user == tokens_of().verify(token, NOW).user == "bob"
    with pytest.raises(InvalidToken):
        known().verify(identity.sign("bob", "another-secret-" * 3, NOW + 60), NOW)


def test_keys_are_bound_to_their_issuer() -> None:
    """A key of one issuer verifies no tokens of another one, also if both use its id (CVE-2026-49998)."""
    key = KEYS["RS256"]
    assert known().verify(key.sign(claims()), NOW)
    for token in (
        key.sign(claims(TWO)),
        key.sign(claims(TWO), kid=FOREIGN.kid),
        FOREIGN.sign(claims(ONE), kid=key.kid),
        with_claims(key.sign(claims(ONE)), iss=TWO),
        with_claims(FOREIGN.sign(claims(TWO)), iss=ONE),
    ):
        with pytest.raises(InvalidToken):
            known().verify(token, NOW)
    pair = SigningKey(kid="same"), SigningKey(kid="same")
    both = tokens_of(fixed(ONE, pair[0]), fixed(TWO, pair[1]))
    for _ in range(2):
        for signer, name, is_valid in [(0, ONE, True), (1, TWO, True), (0, TWO, False), (1, ONE, False)]:
            token = pair[signer].sign(claims(name))
            if is_valid:
                assert both.verify(token, NOW)
            else:
                with pytest.raises(InvalidToken):
                    both.verify(token, NOW)


@rows("issuer", ["https://three.example/", ONE.rstrip("/"), "", None, 5, [ONE]])
def test_unknown_issuer(issuer: Any) -> None:
    """A token of another issuer, or of none, is rejected."""
    token = jwt.api_jws.encode(json.dumps(claims(issuer)).encode(), FOREIGN.private, "RS256")
    with pytest.raises(InvalidToken):
        known().verify(token, NOW)


def test_secret_and_issuer() -> None:
    """A token that is signed with a secret cannot be of an issuer with public keys."""
    with pytest.raises(InvalidToken, match="public keys"):
        known().verify(jwt.encode(claims(ONE), SECRET), NOW)
    for other in ("https://three.example/", "x"):
        assert known().verify(jwt.encode(claims(other), SECRET), NOW)
    assert known().verify(jwt.api_jws.encode(json.dumps(claims([])).encode(), SECRET), NOW)  # type: ignore[arg-type]


def test_no_secret() -> None:
    """Without secrets nothing passes that is signed with HS256, above all not with an empty one."""
    tokens = Tokens(
        settings_of(fixed(ONE, FOREIGN), token_secrets=""),
        Revocations(NoList(), 1, lambda: None),  # type: ignore[arg-type]
    )
    assert tokens.verify(FOREIGN.sign(claims()), NOW)
    for secret in (b"", SECRET.encode()):
        signed = jwt.encode(claims("x"), SECRET).rpartition(".")[0]
        forged = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        with pytest.raises(InvalidToken):
            tokens.verify(f"{signed}.{forged}", NOW)


def test_audience() -> None:
    """Each issuer has an audience of its own; the setting for secrets does not apply to it."""
    key = KEYS["ES256"]
    tokens = tokens_of(fixed(ONE, key, audience="app"), fixed(TWO, FOREIGN), token_audience="own", token_issuer="us")
    assert tokens.verify(key.sign(claims(aud="app")), NOW)
    assert tokens.verify(FOREIGN.sign(claims(TWO)), NOW)
    assert tokens.verify(jwt.encode(claims("us", aud="own"), SECRET), NOW)
    for token in (
        key.sign(claims(aud="own")),
        key.sign(claims()),
        FOREIGN.sign(claims(TWO, aud="app")),
        FOREIGN.sign(claims(TWO, aud="own")),
        jwt.encode(claims("us"), SECRET),
        jwt.encode(claims("us", aud="app"), SECRET),
        jwt.encode(claims("x", aud="own"), SECRET),
    ):
        with pytest.raises(InvalidToken):
            tokens.verify(token, NOW)


def test_greatest_lifetime() -> None:
    """The greatest lifetime holds for all tokens."""
    tokens = tokens_of(fixed(ONE, FOREIGN), max_token_age=LIFETIME)
    assert tokens.verify(FOREIGN.sign(claims()), NOW)
    for token in (FOREIGN.sign(claims(iat=int(NOW) - 1)), jwt.encode(claims("x", iat=int(NOW) - 1), SECRET)):
        with pytest.raises(InvalidToken, match="NOTIFIER_MAX_TOKEN_AGE"):
            tokens.verify(token, NOW)


@rows("sign", [FOREIGN.sign, lambda claims: jwt.encode(claims | {"iss": "x"}, SECRET)])
def test_clock_skew(sign: Any) -> None:
    """The clocks may differ by the leeway, also if the token was remembered before."""
    tokens, base = tokens_of(fixed(ONE, FOREIGN)), int(NOW)
    token = sign(claims(iat=base + 5, nbf=base + 5, exp=base + 10))
    with pytest.raises(InvalidToken, match="clocks"):
        tokens.verify(token, base - 0.001)
    assert tokens.verify(token, base).expires == base + 10
    assert tokens.verify(token, base + 9.999).expires == base + 10
    assert tokens.verify(token, base + 10).expires == base + 10 + LEEWAY
    assert tokens.verify(token, base + 14.999).expires == base + 10 + LEEWAY
    for _ in range(2):
        with pytest.raises(TokenExpired):
            tokens.verify(token, base + 15)


def test_unread_revocations() -> None:
    """A new worker admits no token before it has read the revocations, but rejects an invalid token immediately."""
    revocations = Revocations(NoList(), 100, lambda: None)  # type: ignore[arg-type]
    tokens = Tokens(settings_of(), revocations)
    token = identity.sign("alice", SECRET, time.time() + 60)
    with pytest.raises(BrokerUnavailable):
        tokens.admit(token)
    with pytest.raises(InvalidToken):
        tokens.admit("x")
    revocations.update()
    assert tokens.admit(token).user == "alice"


class TestMemory:
    """The cache of verified tokens."""

    def test_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oldest token is forgotten."""
        monkeypatch.setattr(module, "_MOST_CACHED", 3)
        tokens, key = tokens_of(fixed(ONE, FOREIGN)), FOREIGN
        for number in range(5):
            assert tokens.verify(key.sign(claims(sub=f"user-{number}")), NOW).user == f"user-{number}"
        assert len(tokens._cache) == 3

    def test_long(self) -> None:
        """A token that is very long is verified each time: ten thousand of them would take all memory."""
        tokens = tokens_of(fixed(ONE, FOREIGN))
        for topics in (["x" * 2000], ["x" * 40_000]):
            for _ in range(2):
                assert tokens.verify(FOREIGN.sign(claims(topics=topics)), NOW).topics == tuple(topics)
        assert [len(known.identity.topics[0]) for known in tokens._cache.values()] == [2000]

    def test_failures(self) -> None:
        """Invalid tokens are not cached, and neither are tokens of secrets."""
        tokens = tokens_of(fixed(ONE, FOREIGN))
        with pytest.raises(InvalidToken):
            tokens.verify(KEYS["RS256"].sign(claims(), kid=FOREIGN.kid), NOW)
        assert tokens.verify(identity.sign("bob", SECRET, NOW + 60), NOW)
        assert not tokens._cache


class TestServer:
    """Keys of a server."""

    @pytest.fixture
    def server(self) -> Iterator[KeyServer]:
        with key_server(key_set(KEYS["RS256"])) as server:
            yield server

    @pytest.fixture
    def begin(self, server: KeyServer) -> Iterator[Callable[..., Tokens]]:
        """Return a function that returns tokens whose keys are being fetched."""
        made: list[Tokens] = []

        def begin(*others: dict[str, Any]) -> Tokens:
            made.append(tokens_of({"issuer": ONE, "jwks_url": server.url}, *others))
            made[-1].start()
            return made[-1]

        yield begin
        for tokens in made:
            tokens.stop()

    def test_removed_key(self, server: KeyServer) -> None:
        """A token that was remembered is rejected once its key is no longer in the set."""
        tokens = tokens_of({"issuer": ONE, "jwks_url": server.url})
        [keys] = tokens.key_sets
        keys.refresh()
        token = KEYS["RS256"].sign(claims())
        assert tokens.verify(token, NOW).user == "alice"
        server.body = key_set(KEYS["ES256"])
        keys.refresh()
        for _ in range(2):
            with pytest.raises(KeysPending):
                tokens.verify(token, NOW)

    def test_request_waits(
        self, server: KeyServer, begin: Callable[..., Tokens], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request waits for the keys: for the first ones, and for those of a new key."""
        monkeypatch.setattr(module, "_PATIENCE", DEADLINE)
        tokens = begin()
        assert tokens.admit(KEYS["RS256"].sign(claims())).user == "alice"
        server.body = key_set(*KEYS.values())
        assert tokens.admit(KEYS["ES256"].sign(claims())).user == "alice"
        with pytest.raises((InvalidToken, IssuerUnavailable)):
            tokens.admit(FOREIGN.sign(claims()))

    def test_request_does_not_wait_for_ever(
        self, server: KeyServer, begin: Callable[..., Tokens], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request gives up if the keys do not come, and may be repeated."""
        monkeypatch.setattr(module, "_PATIENCE", 0.1)
        end = threading.Event()
        server.serve = lambda connection: end.wait() and None
        tokens = begin()
        with pytest.raises(IssuerUnavailable):
            tokens.admit(KEYS["RS256"].sign(claims()))
        end.set()

    def test_broken_server(self, server: KeyServer, begin: Callable[..., Tokens]) -> None:
        """Without keys no token is rejected permanently, except those of other issuers."""
        server.status = 500
        tokens = begin(fixed(TWO, FOREIGN))
        eventually(lambda: server.requests)
        with pytest.raises(IssuerUnavailable):
            tokens.admit(KEYS["RS256"].sign(claims()))
        assert tokens.admit(FOREIGN.sign(claims(TWO)))
        with pytest.raises(InvalidToken):
            tokens.admit(FOREIGN.sign(claims("x")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(
    st.sampled_from([*KEYS.values(), FOREIGN]),
    st.dictionaries(
        st.sampled_from(["iss", "sub", "exp", "iat", "aud", "jti", "topics"]), JSON | st.sampled_from([ONE, TWO])
    ),
    st.dictionaries(st.sampled_from(["kid", "typ"]), JSON | st.sampled_from([key.kid for key in KEYS.values()])),
)
def test_random_tokens(key: SigningKey, changed: dict[str, Any], header: dict[str, Any]) -> None:
    """A validly signed token with any claims is an identity of its own issuer, or a documented problem."""
    body = json.dumps(claims() | changed).encode()
    try:
        token = jwt.api_jws.encode(body, key.private, key.algorithm, headers={"kid": key.kid} | header)
    except (jwt.PyJWTError, TypeError):
        return
    try:
        who = known().verify(token, NOW)
    except Problem as problem:
        assert isinstance(problem, InvalidToken | TokenExpired)
    else:
        assert who.user == changed.get("sub", "alice")
        assert (changed.get("iss", ONE) == TWO) == (key is FOREIGN)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*(\.[\w-]*\.[\w-]*)?", fullmatch=True))
def test_random_text(text: str) -> None:
    """Random text is rejected with the documented problem."""
    with pytest.raises(InvalidToken):
        known().verify(text, NOW)
