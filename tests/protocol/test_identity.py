"""Tokens: the user and the grants in them, and which are rejected."""

import base64
import contextlib
import hmac
import json
import math
from typing import Any, ClassVar

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InvalidToken, Problem, TokenExpired
from notifier.protocol import identity
from notifier.protocol import tenant as tenants
from notifier.protocol.identity import LEEWAY, MAX_GRANTS, Identity, digest_of
from notifier.protocol.token_policy import MAX_AGE, Policy
from tests.kit.cases import rows

NOW = 1_763_661_600.0
NEW, OLD, FOREIGN = "the-secret-that-signs-" * 2, "the-secret-of-last-month-" * 2, "somebody-else's-secret-" * 2
SECRETS = (NEW, OLD)
CLAIMS = {"sub": "alice", "exp": NOW + 60}


def token(secret: str = NEW, **claims: object) -> str:
    """Return a token with the claims of a good one, and these."""
    return jwt.api_jws.encode(json.dumps(CLAIMS | claims).encode(), secret, algorithm="HS256", headers={"typ": "JWT"})


def unsigned(header: bytes, claims: dict[str, Any] | bytes = b"{}", signature: bytes = b"") -> str:
    """Return a token of raw parts."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, body, signature))


def raw_header(header: dict[str, Any]) -> str:
    """Return a token with a valid signature, whatever its header contains."""
    signed = unsigned(json.dumps(header).encode(), CLAIMS).rpartition(".")[0]
    mac = hmac.digest(NEW.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def verify(text: str, now: float = NOW) -> Identity:
    return identity.verify(text, SECRETS, now)


def test_round_trip() -> None:
    """A signed token has its user and its grants."""
    text = identity.sign("alice", NEW, NOW + 60, ("orders", "project:*"), ("typing",))
    assert verify(text) == Identity("alice", NOW + 60, ("orders", "project:*"), ("typing",))


def test_no_grants() -> None:
    """A token without grants grants nothing."""
    who = verify(token())
    assert (who.topics, who.publish) == ((), ())
    assert not who.may_read("orders")


def test_may_read() -> None:
    """The grants to read are patterns; the grants to publish do not read."""
    who = verify(token(topics=["orders", "project:*"], publish=["typing"]))
    assert who.may_read("orders")
    assert who.may_read("project:7")
    assert not who.may_read("typing")


@rows("secret", SECRETS)
def test_rotation(secret: str) -> None:
    """Every secret of the list verifies."""
    assert verify(token(secret)).user == "alice"


def test_foreign_secret() -> None:
    """A token that another secret has signed is not valid."""
    with pytest.raises(InvalidToken):
        verify(token(FOREIGN))


def test_no_secrets() -> None:
    """A service without secrets accepts no token."""
    with pytest.raises(InvalidToken):
        identity.verify(token(), (), NOW)


@rows("algorithm", ["none", "None", "NONE", "HS512", "RS256", "", 5, None, ["HS256"], {}])
def test_algorithm(algorithm: object) -> None:
    """Only HS256 is accepted, above all not `none`."""
    with pytest.raises(InvalidToken):
        verify(unsigned(json.dumps({"alg": algorithm, "typ": "JWT"}).encode(), CLAIMS))


def test_other_hash() -> None:
    """A token that is rightly signed with another algorithm of the same secret is not valid."""
    with pytest.raises(InvalidToken):
        verify(jwt.encode(CLAIMS, NEW * 2, algorithm="HS512"))


def test_changed_claims() -> None:
    """A token whose claims were changed behind its signature is not valid."""
    head, _, signature = token().split(".")
    body = token(sub="mallory").split(".")[1]
    with pytest.raises(InvalidToken):
        verify(f"{head}.{body}.{signature}")


@rows(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.e30.e30",
        "\ud800",
        "\ud800.e30.e30",
        unsigned(b""),
        unsigned(b"[]"),
        unsigned(b"null"),
        unsigned(b"\xff\xfe"),
        unsigned(b"[" * 10_000),
        unsigned(b'{"alg":' + b"1" * 5000 + b"}"),
        unsigned(b'{"alg":"HS256","crit":["b64"],"b64":false}'),
        unsigned(b'{"alg":"HS256","b64":false}'),
        unsigned(b'{"alg":"dir","enc":"A256GCM","zip":"DEF"}') + ".e30.e30",
        "e30." * 40_000,
        "x" * 70_000,
        " " + token(),
    ],
)
def test_no_token(text: str) -> None:
    """Text that is not a JWT is rejected, however odd it is."""
    with pytest.raises(InvalidToken):
        verify(text)


@rows("text", ["", "nk_an_api_key", "a.b.c", "\ud800.e30.e30"])
def test_words_for_no_token(text: str) -> None:
    """The error for text that is not a token names that reason."""
    with pytest.raises(InvalidToken, match="This is not a JWT"):
        verify(text)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_random_text(text: str) -> None:
    """Random text is never an identity and never another error."""
    with pytest.raises(InvalidToken):
        verify(text)


@rows("claims", [b"[]", b"null", b"5", b"{", b"\xff", b"[" * 10_000])
def test_claims_are_no_object(claims: bytes) -> None:
    """A signed payload that is not a JSON object is not a token."""
    text = jwt.api_jws.encode(claims, NEW, algorithm="HS256")
    with pytest.raises(InvalidToken):
        verify(text)


@rows("claim", ["sub", "exp"])
def test_missing_claim(claim: str) -> None:
    """A token must have a user and an expiry."""
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    with pytest.raises(InvalidToken, match=claim):
        verify(jwt.encode(claims, NEW, algorithm="HS256"))


@rows("sub", [None, 5, True, [], {}, "", "a b", "a\n", "{a}", "a" * 129])
def test_user(sub: object) -> None:
    """The `sub` claim is a name as a publisher may use it."""
    with pytest.raises(InvalidToken):
        verify(token(sub=sub))


@rows("exp", [None, "", "soon", str(NOW + 60), True, [], {}, math.nan, math.inf, 10**400, 1e300])
def test_expiry_is_a_time(exp: object) -> None:
    """The `exp` claim is a number of seconds with an end."""
    with pytest.raises(InvalidToken):
        verify(token(exp=exp))


def test_expired() -> None:
    """A token is valid until its `exp` and the leeway, and expired from then on."""
    text = token(exp=NOW + 0.5)
    assert verify(text, NOW).expires == NOW + 0.5
    for now in (NOW + 0.5, NOW + 0.5 + LEEWAY - 0.001):
        assert verify(text, now).expires == NOW + 0.5 + LEEWAY, "a connection opened now is not closed at once"
    for now in (NOW + 0.5 + LEEWAY, NOW + 1000):
        with pytest.raises(TokenExpired):
            verify(text, now)


@rows("exp", [0, -1, -(10**400), -math.inf])
def test_long_ago(exp: float) -> None:
    """A time in the past is not an error but an expiry, or at least not valid."""
    with pytest.raises((TokenExpired, InvalidToken)):
        verify(token(exp=exp))


def test_signature_before_expiry() -> None:
    """A forged token that has expired is invalid, not expired."""
    with pytest.raises(InvalidToken):
        verify(token(FOREIGN, exp=0))


def test_not_before() -> None:
    """A token is not valid before its `nbf` or its `iat`, less the leeway."""
    for claim in ("nbf", "iat"):
        text = token(**{claim: NOW + 5})
        assert verify(text, NOW + 5 - LEEWAY).user == "alice"
        with pytest.raises(InvalidToken, match="clocks"):
            verify(text, NOW + 4.999 - LEEWAY)


@rows("claim", ["nbf", "iat"])
@rows("time", ["later", str(NOW + 5), [NOW + 5], {}, None, True, math.nan, math.inf, 10**400])
def test_not_before_is_a_time(claim: str, time: object) -> None:
    """A `nbf` or `iat` that cannot be understood does not make a token valid at once."""
    with pytest.raises(InvalidToken):
        verify(token(**{claim: time}))


def test_greatest_lifetime() -> None:
    """A token is valid for at most the greatest lifetime, from its `iat` on, or from now on if it has none."""
    policy = Policy(max_age=100)
    for claims in ({"exp": NOW + 100}, {"iat": NOW - 50, "exp": NOW + 50}):
        assert identity.verify(token(**claims), SECRETS, NOW, policy)
    for claims in ({"exp": NOW + 101}, {"iat": NOW - 51, "exp": NOW + 50}):
        with pytest.raises(InvalidToken, match="NOTIFIER_MAX_TOKEN_AGE, 100 seconds"):
            identity.verify(token(**claims), SECRETS, NOW, policy)
    with pytest.raises(InvalidToken):
        verify(token(exp=NOW + MAX_AGE + 1))


class TestPolicy:
    """The claims that an issuer's tokens must have."""

    POLICY = Policy(issuer="https://issuer.example", audience=("notifier", "other"))
    GOOD: ClassVar = {"iss": "https://issuer.example", "aud": "notifier"}

    @rows("aud", ["notifier", "other", ["x", "notifier"], [5, None, "other"]])
    def test_accepted(self, aud: object) -> None:
        """One of the audiences is enough."""
        assert identity.verify(token(**self.GOOD | {"aud": aud}), SECRETS, NOW, self.POLICY).user == "alice"

    @rows("iss", [None, "", "https://issuer.example/", "https://ISSUER.example", 5, [], ["https://issuer.example"], {}])
    def test_issuer(self, iss: object) -> None:
        """The issuer is compared exactly, as text."""
        with pytest.raises(InvalidToken, match="issuer"):
            identity.verify(token(**self.GOOD | {"iss": iss}), SECRETS, NOW, self.POLICY)

    @rows("aud", [None, "", "Notifier", "notifier2", [], ["x"], [["notifier"]], {"notifier": 1}, 5])
    def test_audience(self, aud: object) -> None:
        """A token for another audience is rejected, and so is one without an audience."""
        with pytest.raises(InvalidToken, match="audience"):
            identity.verify(token(**self.GOOD | {"aud": aud}), SECRETS, NOW, self.POLICY)
        with pytest.raises(InvalidToken, match="audience"):
            identity.verify(token(iss="https://issuer.example"), SECRETS, NOW, self.POLICY)

    @rows("aud", ["notifier", [], "", None, ["x"]])
    def test_no_audience(self, aud: object) -> None:
        """If no audience is set, a token with any audience is for another service."""
        with pytest.raises(InvalidToken, match="audience"):
            verify(token(aud=aud))
        for name in ("client_id", "/realm/aud"):
            with pytest.raises(InvalidToken, match="audience"):
                identity.verify(token(aud=aud), SECRETS, NOW, Policy(audience_claim=name))
        with pytest.raises(InvalidToken, match="audience"):
            identity.verify(token(realm={"aud": aud}), SECRETS, NOW, Policy(audience_claim="/realm/aud"))

    @rows("aud", ["another", [], "", None, ["x"]])
    def test_both_audiences(self, aud: object) -> None:
        """If the audience is in another claim, a token that also has an `aud` must be for the audience by both."""
        policy = Policy(audience=("app", "notifier"), audience_claim="client_id")
        assert identity.verify(token(client_id="app"), SECRETS, NOW, policy)
        assert identity.verify(token(client_id="app", aud=["x", "notifier"]), SECRETS, NOW, policy)
        for wrong in ({"client_id": "app", "aud": aud}, {"client_id": aud, "aud": "app"}, {"aud": "app"}):
            with pytest.raises(InvalidToken, match="audience"):
                identity.verify(token(**wrong), SECRETS, NOW, policy)

    def test_no_issuer(self) -> None:
        """If no issuer is set, a secret is enough."""
        assert verify(token(iss="https://elsewhere.example")).user == "alice"

    def test_claims(self) -> None:
        """User, topics, publish and audience may be in other claims, also in nested ones."""
        policy = Policy(
            audience=("app",),
            user_claim="https://example.org/user",
            topics_claim="/realm/a~1b/topics",
            publish_claim="/realm/publish",
            audience_claim="client_id",
        )
        realm = {"a/b": {"topics": ["orders"]}, "publish": ["typing"]}
        text = token(**{"https://example.org/user": "bob", "realm": realm, "client_id": "app"})
        who = identity.verify(text, SECRETS, NOW, policy)
        assert (who.user, who.topics, who.publish) == ("bob", ("orders",), ("typing",))
        assert identity.verify(
            identity.sign("eve", NEW, NOW + 60, ("a",), ("b",), issued=NOW, id="1", policy=policy), SECRETS, NOW, policy
        ) == Identity("eve", NOW + 60, ("a",), ("b",), NOW, digest_of("1"))
        for realm in (None, "x", [], {"a/b": []}, {"a/b": {}}):
            assert (
                identity.verify(
                    token(**{"https://example.org/user": "bob", "realm": realm, "client_id": "app"}),
                    SECRETS,
                    NOW,
                    policy,
                ).topics
                == ()
            )

    def test_round_trip(self) -> None:
        """A signed token has the issuer and the first audience of the policy."""
        text = identity.sign("alice", NEW, NOW + 60, policy=self.POLICY)
        assert identity.verify(text, SECRETS, NOW, self.POLICY).user == "alice"


class TestPurpose:
    """Tokens for another purpose that the same secret or issuer has signed."""

    @rows("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", None])
    def test_types(self, typ: str | None) -> None:
        """The header may name the type of any token, or of an access token."""
        assert verify(jwt.encode(CLAIMS, NEW, headers={"typ": typ})).user == "alice"

    @rows(
        "typ",
        ["", "password-reset+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "id_token", "application/json"],
    )
    def test_other_types(self, typ: str) -> None:
        """The header names another type."""
        with pytest.raises(InvalidToken):
            verify(raw_header({"alg": "HS256", "typ": typ}))

    @rows("claim", ["token_use", "token_type", "typ"])
    @rows("purpose", ["access", "Access", "Bearer", "id", "ID", "JWT"])
    def test_purposes(self, claim: str, purpose: str) -> None:
        """Access tokens and ID tokens are accepted."""
        assert verify(token(**{claim: purpose})).user == "alice"

    @rows("claim", ["token_use", "token_type", "typ"])
    @rows("purpose", ["refresh", "Refresh", "Offline", "Logout", "reset", "", None, 5, [], ["access"]])
    def test_other_purposes(self, claim: str, purpose: object) -> None:
        """A claim names another purpose."""
        with pytest.raises(InvalidToken, match="purpose"):
            verify(token(**{claim: purpose}))

    @rows("claims", [{"type": "refresh"}, {"events": {}}, {"cnf": {"jkt": "x"}}])
    def test_others(self, claims: dict[str, Any]) -> None:
        """Refresh tokens of Flask, logout tokens, and tokens that are bound to a key are rejected."""
        with pytest.raises(InvalidToken):
            verify(token(**claims))
        assert verify(token(type="access")).user == "alice"


def test_revocation() -> None:
    """A token's identity has what revocations need: when it was issued, and a digest of its id."""
    who = verify(token(iat=NOW - 1, jti="x" * 5000))
    assert (who.issued, who.id) == (NOW - 1, digest_of("x" * 5000))
    assert len(who.id) == 12
    assert (verify(token()).issued, verify(token()).id) == (0, b"")


@rows("jti", [5, True, [], {}, ["x"]])
def test_id_is_text(jti: object) -> None:
    """An id that is not text could not be revoked."""
    with pytest.raises(InvalidToken, match="jti"):
        verify(token(jti=jti))


@rows("text", ["short", "x" * 31, f"{NEW},short"])
def test_parse_secrets(text: str) -> None:
    """Secrets are separated by commas, and each is long enough."""
    assert identity.parse_secrets(f" {NEW} ,, {OLD}") == SECRETS
    with pytest.raises(ValueError, match="less than 32 bytes"):
        identity.parse_secrets(text)


@rows(
    "key",
    [
        f"-----BEGIN PUBLIC KEY-----\n{'x' * 64}\n-----END PUBLIC KEY-----\n",
        f"-----BEGIN CERTIFICATE-----\n{'x' * 64}\n-----END CERTIFICATE-----",
        f"ssh-ed25519 {'x' * 64}",
    ],
)
def test_secrets_are_no_keys(key: str) -> None:
    """A public key is not a secret. The service does not start with one; otherwise each token would be an error."""
    with pytest.raises(ValueError, match="another algorithm") as caught:
        identity.parse_secrets(f"{NEW},{key}")
    assert "xxx" not in str(caught.value)


@rows("claim", ["topics", "publish"])
@rows("grants", [None, "orders", 5, True, {}, {"orders": True}, [5], ["orders", None], [["orders"]]])
def test_grants_are_names(claim: str, grants: object) -> None:
    """The grants are lists of names; a string is not split into letters."""
    with pytest.raises(InvalidToken, match=claim):
        verify(token(**{claim: grants}))


@rows("claim", ["topics", "publish"])
def test_too_many_grants(claim: str) -> None:
    """The number of grants in a token is limited."""
    assert verify(token(**{claim: ["t"] * MAX_GRANTS}))
    with pytest.raises(InvalidToken, match=claim):
        verify(token(**{claim: ["t"] * (MAX_GRANTS + 1)}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


NAMES = ["sub", "exp", "nbf", "iat", "iss", "aud", "jti", "topics", "publish", "typ", "token_use", "cnf", "events", "a"]
PATHS = st.sampled_from(["sub", "topics", "/a", "/a/0", "/", "//", "/a/~1", "aud", "exp"])
POLICIES = st.builds(
    Policy,
    st.sampled_from(["", "x"]),
    st.sampled_from([(), ("x",)]),
    st.floats(1, 1e9),
    PATHS,
    PATHS,
    PATHS,
    PATHS,
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON), POLICIES)
def test_random_policy(claims: dict[str, Any], policy: Policy) -> None:
    """Any claims under any policy result in an identity that keeps to the policy, or in a documented problem."""
    text = jwt.api_jws.encode(json.dumps(CLAIMS | claims).encode(), NEW, algorithm="HS256")
    try:
        who = identity.verify(text, SECRETS, NOW, policy)
    except Problem as problem:
        assert isinstance(problem, InvalidToken | TokenExpired)
    else:
        assert not policy.issuer or claims["iss"] == "x"
        assert NOW < who.expires < NOW + policy.max_age + LEEWAY + 1
        assert isinstance(who.user, str)


HEADERS = st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "zip", "enc"]), JSON)


@given(HEADERS)
def test_random_headers(header: dict[str, Any]) -> None:
    """With any header, only a token with HS256 is accepted."""
    try:
        who = verify(raw_header({"alg": "HS256"} | header))
    except Problem as problem:
        assert isinstance(problem, InvalidToken)
    else:
        assert (who.user, header.get("alg", "HS256")) == ("alice", "HS256")


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_random_claims(claims: dict[str, Any]) -> None:
    """Any validly signed claims are an identity or a documented problem."""
    text = jwt.api_jws.encode(json.dumps(CLAIMS | claims).encode(), NEW, algorithm="HS256")
    try:
        who = verify(text)
    except Problem as problem:
        assert isinstance(problem, InvalidToken | TokenExpired)
    else:
        assert who.expires > NOW
        assert all(isinstance(topic, str) for topic in who.topics + who.publish)


class TestTenants:
    @rows(
        ("policy", "claim", "user"),
        [
            (Policy(), "acme", "alice"),
            (Policy(tenant_claim="tenant"), "acme", "acme\x1falice"),
            (Policy(tenant_claim="tenant"), None, "alice"),
            (Policy(tenant="beta", tenant_claim="tenant"), "acme", "beta\x1falice"),
            (Policy(tenant="beta"), None, "beta\x1falice"),
        ],
    )
    def test_tenant(self, policy: Policy, claim: str | None, user: str) -> None:
        """An issuer is confined to its tenant, whatever its tokens claim; tokens of a secret may name a tenant."""
        claims = {} if claim is None else {"tenant": claim}
        who = identity.verify(token(**claims), SECRETS, NOW, policy)
        assert who.user == user

    @rows("claim", ["", None, "Acme", "a b", "acme\x1f", 5, ["acme"], {"a": 1}, True])
    def test_wrong_tenant(self, claim: object) -> None:
        """A tenant that cannot be is not ignored."""
        with pytest.raises(InvalidToken, match="tenant"):
            identity.verify(token(tenant=claim), SECRETS, NOW, Policy(tenant_claim="tenant"))

    def test_grants(self) -> None:
        """The grants are for topics of the tenant."""
        claims = {"tenant": "acme", "topics": ["orders", "project:*"], "publish": ["*"]}
        who = identity.verify(token(**claims), SECRETS, NOW, Policy(tenant_claim="tenant"))
        assert who.scoped("orders") == "acme\x1forders"
        assert who.may_read("acme\x1forders") and who.may_read("acme\x1fproject:7")
        assert not who.may_read("acme\x1fother")
        assert who.may_publish("acme\x1fanything")

    def test_ids(self) -> None:
        """The same jti in two tenants is that of two tokens, also if it contains the separator."""
        ids = {
            identity.verify(token(jti=jti, **claims), SECRETS, NOW, Policy(tenant_claim="tenant")).id
            for jti, claims in [("x", {}), ("x", {"tenant": "acme"}), ("x", {"tenant": "beta"}), ("acme\x1fx", {})]
        }
        assert len(ids) == 4

    def test_signed(self) -> None:
        """A token that is made for a tenant is confined to it."""
        policy = Policy(tenant_claim="/our/tenant")
        text = identity.sign("alice", NEW, NOW + 60, tenant="acme", policy=policy)
        assert identity.verify(text, SECRETS, NOW, policy).user == "acme\x1falice"
        assert identity.verify(text, SECRETS, NOW, Policy()).user == "alice"

    @rows("claim", ["sub", "exp", "topics", "/sub/tenant", "/app/tenant"])
    def test_signed_in_the_tenant(self, claim: str) -> None:
        """Claims that replace each other never lead out of the tenant, whatever the name of the user is."""
        policy = Policy(tenant_claim=claim, user_claim="/app" if claim.startswith("/app") else "sub")
        with contextlib.suppress(InvalidToken, TypeError):
            text = identity.sign("beta", NEW, NOW + 60, tenant="acme", policy=policy)
            assert tenants.of(identity.verify(text, SECRETS, NOW, policy).user) == "acme"
