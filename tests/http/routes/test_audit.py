"""Reading the audit log over HTTP: whose log a key may read."""

from typing import Any

from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.routes.audit import AuditViews
from notifier.protocol.api_key import ApiKey
from notifier.settings import AuthSettings
from tests.kit.cases import rows
from tests.kit.credentials import credentials_of

KEYS = {
    "operator": ApiKey("operator", "secret-of-the-operator"),
    "limited": ApiKey("limited", "secret-of-the-limited-key", users=("alice",)),
    "acme": ApiKey("acme", "secret-of-acme's-key", tenant="acme"),
}


class Log:
    """Notes whose log is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def page(self, before: Any, limit: int, tenant: str) -> list[Any]:
        self.read.append(tenant)
        return []


@rows(
    ("by", "query", "status", "read"),
    [
        ("operator", "", 200, [""]),
        ("operator", "?tenant=acme", 200, ["acme"]),
        ("operator", "?tenant=A+b", 400, []),
        ("operator", "?tenant=acme%1F", 400, []),
        ("limited", "?tenant=acme", 403, []),
        ("acme", "", 200, ["acme"]),
        ("acme", "?tenant=acme", 200, ["acme"]),
        ("acme", "?tenant=", 403, []),
        ("acme", "?tenant=beta", 403, []),
        ("acme", "?tenant=A+b", 403, []),
    ],
)
def test_tenants(by: str, query: str, status: int, read: list[str]) -> None:
    """A key reads the log of its tenant; an unlimited one of the default tenant reads those of all."""
    log: Any = Log()
    app = Flask(__name__)
    app.register_blueprint(AuditViews(credentials_of(AuthSettings(api_keys=tuple(KEYS.values()))), log).blueprint())
    install(app)
    client = Client(Front(app.wsgi_app, "", publish=lambda request: Response(), name="audit"))
    answer = client.get(f"/v1/audit{query}", headers={"Authorization": f"Bearer {KEYS[by].secret}"})
    assert (answer.status_code, log.read) == (status, read)
