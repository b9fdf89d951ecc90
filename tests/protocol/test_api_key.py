"""API keys: how the setting spells them, and what they grant."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import Forbidden
from notifier.protocol import channel as rules
from notifier.protocol.api_key import SCOPES, ApiKey, parse
from notifier.protocol.share import Share
from tests.kit.cases import rows

KEY, OTHER_KEY = "a-key-of-the-tests", "another-key-of-the-tests"


def test_plain() -> None:
    """`id:secret` is a key with every scope and every topic; a secret may have colons."""
    keys = parse(f"shop:{KEY}, ops:{OTHER_KEY}:x")
    assert keys == (ApiKey("shop", KEY), ApiKey("ops", f"{OTHER_KEY}:x"))
    assert keys[0].scopes == set(SCOPES)
    assert keys[0].topics == ("*",)


def test_spaces() -> None:
    """Spaces around an id or a secret do not count."""
    assert parse(f" shop : {KEY} , ops:\t{OTHER_KEY}\n") == (ApiKey("shop", KEY), ApiKey("ops", OTHER_KEY))


@rows("secret", [KEY + "\u00e9", KEY + "\n" + KEY, KEY + " " + KEY, KEY + "\x00"])
def test_secret_that_cannot_be_sent(secret: str) -> None:
    """A secret that no header can have is rejected at the start: every request would be answered 401."""
    for text in (f"shop:{secret}", json.dumps([{"id": "shop", "secret": secret}])):
        with pytest.raises(ValueError, match="no request can send it") as caught:
            parse(text)
        assert KEY not in str(caught.value)


def test_restricted() -> None:
    """A JSON list defines what each key may do; a field that is left out allows everything."""
    items = [
        {"id": "shop", "secret": KEY, "scopes": ["publish"], "topics": ["orders", "project:*"]},
        {"id": "ops", "secret": OTHER_KEY},
        {"id": "none", "secret": KEY, "scopes": [], "topics": [], "users": []},
        {"id": "acme", "secret": KEY, "users": ["acme:*"]},
        {"id": "staging", "secret": KEY, "tenant": "staging"},
        {"id": "default", "secret": KEY, "tenant": None},
    ]
    assert parse(f" {json.dumps(items)} ") == (
        ApiKey("shop", KEY, frozenset({"publish"}), ("orders", "project:*")),
        ApiKey("ops", OTHER_KEY),
        ApiKey("none", KEY, frozenset(), (), ()),
        ApiKey("acme", KEY, users=("acme:*",)),
        ApiKey("staging", KEY, tenant="staging"),
        ApiKey("default", KEY),
    )


@rows(
    "text",
    [
        "shop",
        "shop:",
        f":{KEY}",
        "shop:short",
        KEY,
        f"shop:{KEY},shop:{OTHER_KEY}",
        f"shop:{KEY},ops",
        "[",
        "[1]",
        "[[]]",
        '["shop"]',
        "[{}]",
        '[{"id": "shop"}]',
        '[{"id": "", "secret": "a-key-of-the-tests"}]',
        '[{"id": "shop", "secret": "short"}]',
        '[{"id": "shop", "secret": "a-key-of-the-tests", "scope": []}]',
    ],
)
def test_wrong(text: str) -> None:
    """A key without id or with a short secret, an id twice, or JSON of another form is refused."""
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert KEY not in str(caught.value)


@rows(
    "fields",
    [
        {"scopes": ["publish", "everything"]},
        {"scopes": "publish"},
        {"scopes": {"publish": True}},
        {"scopes": [1]},
        {"scopes": [["publish"]]},
        {"topics": "orders"},
        {"topics": [1]},
        {"topics": {"orders": True}},
        {"topics": 5},
        {"users": "alice"},
        {"users": [1]},
        {"topics": ["a b"]},
        {"topics": ["orders", "{x}"]},
        {"topics": ["a*b"]},
        {"topics": [""]},
        {"topics": ["a**"]},
        {"users": ["a b"]},
        {"users": ["a*b"]},
        {"users": [""]},
        {"tenant": "Acme"},
        {"tenant": 5},
        {"tenant": 0},
        {"tenant": False},
        {"tenant": []},
        {"tenant": ""},
        {"tenant": ["acme"]},
    ],
)
def test_wrong_restriction(fields: dict[str, Any]) -> None:
    """A restriction that is not understood is refused: it must not mean something else."""
    with pytest.raises(ValueError):
        parse(json.dumps([{"id": "shop", "secret": KEY} | fields]))


def test_pattern_that_matches_nothing() -> None:
    """The error names the pattern, the field and the rule."""
    with pytest.raises(ValueError, match="^has 'a b' in topics, which matches nothing. A name has no spaces"):
        parse(json.dumps([{"id": "shop", "secret": KEY, "topics": ["orders", "a b"]}]))


@rows(
    "text",
    ["[" * 20_000, "[" + "9" * 5000 + "]", '[{"id": ' + "9" * 5000 + "}]"],
)
def test_not_readable(text: str) -> None:
    """JSON that Python cannot read is refused with a sentence."""
    with pytest.raises(ValueError, match="^is not a JSON list of objects"):
        parse(text)


@rows(
    ("scopes", "asked", "granted"),
    [
        (SCOPES, ["recall"], True),
        (["publish"], ["publish", "broadcast"], True),
        (["users"], ["publish"], False),
        ([], SCOPES, False),
    ],
)
def test_scopes(scopes: list[str], asked: list[str], granted: bool) -> None:
    """A key needs one of the scopes that a call accepts."""
    key = ApiKey("shop", KEY, frozenset(scopes))
    if granted:
        key.require_scope(asked)
    else:
        with pytest.raises(Forbidden, match="shop has none of the scopes"):
            key.require_scope(asked)


@rows(
    ("channel", "granted"),
    [("topic:orders", True), ("topic:project:7", True), ("topic:other", False), ("user:alice", True), ("all", True)],
)
def test_topics(channel: str, granted: bool) -> None:
    """The topics of a key limit topics only, not users."""
    key = ApiKey("shop", KEY, topics=("orders", "project:*"))
    if granted:
        key.require_channels(["user:bob", channel])
    else:
        with pytest.raises(Forbidden, match="does not grant the topic other"):
            key.require_channels(["user:bob", channel])


@rows(
    ("channel", "granted"),
    [("user:acme:bob", True), ("user:alice", True), ("user:alicia", False), ("user:bob", False), ("topic:any", True)],
)
def test_users(channel: str, granted: bool) -> None:
    """The users of a key limit users only, not topics."""
    key = ApiKey("shop", KEY, users=("alice", "acme:*"))
    if granted:
        key.require_channels(["user:acme:carol", channel])
    else:
        with pytest.raises(Forbidden, match=f"does not grant the user {channel[5:]}"):
            key.require_channels(["user:acme:carol", channel])


def test_users_by_name() -> None:
    """A user, or a pattern of users, is granted as a whole."""
    key = ApiKey("shop", KEY, users=("alice", "acme:*"))
    key.require_users(["alice", "acme:bob", "acme:b*", "acme:*"])
    for name in ("bob", "acme", "acm*", "*", "alice*"):
        assert not key.grants_user(name)
        with pytest.raises(Forbidden):
            key.require_users(["alice", name])


@given(st.lists(st.text("ab*", max_size=3), max_size=5), st.text("ab*", max_size=4))
def test_same_as_grants_of_tokens(patterns: list[str], name: str) -> None:
    """A key grants what a token with the same patterns would."""
    assert ApiKey("shop", KEY, users=tuple(patterns)).grants_user(name) == rules.grants(tuple(patterns), name)


def test_tenant() -> None:
    """The patterns of a key are for the names of its tenant."""
    key = ApiKey("shop", KEY, topics=("orders",), users=("alice", "b*"), tenant="acme")
    assert key.scoped("alice") == "acme\x1falice"
    key.require_grants(["user:acme\x1falice", "user:acme\x1fbob", "topic:acme\x1forders"], "publish")
    for channel in ("user:acme\x1fcarol", "topic:acme\x1fother", "all:acme\x1f"):
        with pytest.raises(Forbidden) as caught:
            key.require_grants([channel], "publish")
        assert "\x1f" not in str(caught.value)
    loud = ApiKey("loud", KEY, frozenset({"broadcast"}), tenant="acme")
    loud.require_grants(["all:acme\x1f"], "publish")
    with pytest.raises(Forbidden, match="publish scope"):
        loud.require_grants(["user:acme\x1falice"], "publish")
    with pytest.raises(Forbidden, match="broadcast scope"):
        loud._replace(scopes=frozenset({"publish"})).require_grants(["all:acme\x1f"], "publish")
    with pytest.raises(Forbidden, match="confined to its tenant"):
        key.require_default_tenant()
    ApiKey("shop", KEY).require_default_tenant()


def test_governs() -> None:
    """A key knows of its tenant; the operator's, unlimited in the default tenant and with the admin scope, of all."""
    others = frozenset(SCOPES) - {"admin"}
    for key, known in (
        (ApiKey("root", KEY), ["", "acme", "beta"]),
        (ApiKey("operator", KEY, frozenset({"admin"})), ["", "acme", "beta"]),
        (ApiKey("shop", KEY, others), [""]),
        (ApiKey("some users", KEY, users=("x",)), [""]),
        (ApiKey("some topics", KEY, topics=("x",)), [""]),
        (ApiKey("acme", KEY, tenant="acme"), ["acme"]),
    ):
        assert [tenant for tenant in ("", "acme", "beta") if key.governs(tenant)] == known


def test_everyone() -> None:
    """A key that is limited to some users does not reach everyone, whatever its scopes."""
    ApiKey("shop", KEY, users=("a*", "*")).require_everyone()
    ApiKey("shop", KEY, topics=()).require_everyone()
    for users in ((), ("alice",), ("a*",)):
        key = ApiKey("shop", KEY, users=users)
        with pytest.raises(Forbidden, match="does not grant all users"):
            key.require_everyone()
        with pytest.raises(Forbidden, match="does not grant all users"):
            key.require_grants(["all"], "publish")


def test_unlimited() -> None:
    """A key that is limited in any way is not unlimited."""
    ApiKey("shop", KEY, frozenset()).require_unlimited()
    for key in (ApiKey("shop", KEY, topics=("a*",)), ApiKey("shop", KEY, users=("a*",))):
        with pytest.raises(Forbidden):
            key.require_unlimited()


@rows(
    ("topics", "users", "covered"),
    [
        (("orders",), ("acme:bob",), True),
        (("project:*", "project:7"), ("acme:*",), True),
        ((), (), True),
        (("orders*",), (), False),
        (("proj*",), (), False),
        (("*",), (), False),
        ((), ("*",), False),
        ((), ("acme:*", "bob"), False),
    ],
)
def test_covers(topics: tuple[str, ...], users: tuple[str, ...], covered: bool) -> None:
    """A key covers patterns that grant nothing but what it grants itself."""
    key = ApiKey("shop", KEY, topics=("orders", "project:*"), users=("acme:*",))
    assert key.covers(topics, users) == covered
    assert ApiKey("all", KEY).covers(topics, users)


def test_grants() -> None:
    """Everyone is reached only with the `broadcast` scope, all other channels with the call's scope."""
    ApiKey("shop", KEY, frozenset({"publish"})).require_grants(["user:alice", "topic:orders"], "publish")
    ApiKey("shop", KEY, frozenset({"broadcast"})).require_grants(["all"], "publish")
    for scopes, channels, missing in [
        ({"publish"}, ["user:alice", "all"], "broadcast"),
        ({"broadcast"}, ["all", "user:alice"], "publish"),
    ]:
        with pytest.raises(Forbidden, match=f"does not have the {missing} scope"):
            ApiKey("shop", KEY, frozenset(scopes)).require_grants(channels, "publish")
    with pytest.raises(Forbidden, match="topic secret"):
        ApiKey("shop", KEY, topics=()).require_grants(["topic:secret"], "publish")


@rows(
    ("key", "share"),
    [
        (ApiKey("a", KEY), Share(is_operator=True)),
        (ApiKey("a", KEY, frozenset({"tokens"})), Share()),
        (ApiKey("a", KEY, tenant="acme"), Share("acme")),
        (ApiKey("a", KEY, topics=("x",)), Share("", "a")),
        (ApiKey("a", KEY, users=("x*",)), Share("", "a")),
        (ApiKey("a", KEY, users=("x*",), tenant="acme"), Share("acme", "a")),
        (ApiKey("a", KEY, users=("x*",), holder="b"), Share("", "b")),
        (ApiKey("a", KEY, users=("*", "x")), Share(is_operator=True)),
    ],
)
def test_share(key: ApiKey, share: Share) -> None:
    """Only an unlimited key of the default tenant with the `admin` scope is the operator's."""
    assert key.share == share


@rows(
    ("key", "load"),
    [
        (ApiKey("a", KEY), "/a"),
        (ApiKey("a", KEY, users=("x*",), holder="b"), "/b"),
        (ApiKey("a", KEY, tenant="acme"), "acme/"),
        (ApiKey("b", KEY, users=("x*",), holder="c", tenant="acme"), "acme/"),
        (ApiKey("acme/", KEY), "/acme/"),
    ],
)
def test_load(key: ApiKey, load: str) -> None:
    """What the keys of a tenant occupy counts together; no key of the default tenant has the name of a tenant."""
    assert key.load == load


def test_names_of_shares() -> None:
    """Different shares have different names."""
    shares = [Share(), Share("a"), Share("", "a"), Share("a", "a"), Share("", "a/a"), Share(is_operator=True)]
    assert len({share.name for share in shares}) == len(shares)
