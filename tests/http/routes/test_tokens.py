"""Tokens over HTTP: in whose share a revocation counts."""

from typing import Any

from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.routes.tokens import TokenViews
from notifier.protocol.api_key import ApiKey
from notifier.protocol.share import Share
from notifier.settings import AuthSettings
from tests.kit.cases import rows
from tests.kit.credentials import NoAudit, credentials_of

TOKENS = frozenset({"tokens"})
KEYS = {
    "operator": ApiKey("operator", "secret-of-the-operator"),
    "backend": ApiKey("backend", "secret-of-the-backend", TOKENS),
    "shop": ApiKey("shop", "secret-of-the-limited-key", TOKENS, users=("shop:*",)),
    "topics": ApiKey("topics", "secret-of-the-key-for-topics", TOKENS, topics=("a",)),
    "acme": ApiKey("acme", "secret-of-acme's-key", tenant="acme"),
}


class Revocations:
    """Keeps revocations."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Share]] = []

    def revoke_user(self, user: str, issued_before: float, share: Share) -> None:
        self.made.append((user, share))

    def revoke_id(self, id: str, share: Share) -> None:
        self.made.append((id, share))


@rows(
    ("by", "body", "made"),
    [
        ("operator", {"user": "shop:1"}, ("shop:1", Share(is_operator=True))),
        ("operator", {"jti": "x"}, ("x", Share(is_operator=True))),
        ("backend", {"user": "shop:1"}, ("shop:1", Share())),
        ("shop", {"user": "shop:1"}, ("shop:1", Share("", "shop"))),
        ("topics", {"jti": "x"}, ("x", Share("", "topics"))),
        ("acme", {"user": "shop:1"}, ("acme\x1fshop:1", Share("acme"))),
        ("acme", {"jti": "x"}, ("x", Share("acme"))),
    ],
)
def test_shares(by: str, body: dict[str, str], made: tuple[str, Share]) -> None:
    """A revocation counts in the share of the key that asks for it."""
    revocations: Any = Revocations()
    auditor: Any = NoAudit()
    settings = AuthSettings(api_keys=tuple(KEYS.values()))
    app = Flask(__name__)
    app.register_blueprint(TokenViews(credentials_of(settings), settings, revocations, auditor).blueprint())
    install(app)
    client = Client(Front(app.wsgi_app, "", publish=lambda request: Response(), name="tokens"))
    answer = client.post("/v1/tokens/revoke", json=body, headers={"Authorization": f"Bearer {KEYS[by].secret}"})
    assert (answer.status_code, revocations.made) == (200, [made])
