"""Managed keys over HTTP: what the audit log has about their changes, and which changes are limited."""

from typing import Any

from flask import Flask
from werkzeug import Response
from werkzeug.test import Client, TestResponse

from notifier.auth.api_keys import ApiKeys
from notifier.auth.key_changes import KeyChanges
from notifier.broker.key_list import KeyList, Stored
from notifier.http.answers import install
from notifier.http.auditor import Auditor
from notifier.http.front import Front
from notifier.http.routes.keys import KeyViews
from notifier.limit_settings import LimitSettings
from notifier.limits.api_keys import KeyLimits
from notifier.protocol import audit
from notifier.protocol.api_key import ApiKey
from notifier.protocol.audit import Entry
from notifier.protocol.key_record import KeyRecord
from notifier.settings import AuthSettings
from tests.kit.cases import rows
from tests.kit.credentials import credentials_of

OPERATOR = ApiKey("operator", "secret-of-the-operator")
ACME = ApiKey("acme", "secret-of-acme's-key", tenant="acme")
LIMITED = ApiKey("limited", "secret-of-the-limited-key", users=("a",))


class Keys(KeyList):
    """Stored keys, without a server."""

    def __init__(self) -> None:
        self._found: dict[str, Stored] = {}

    def get(self, id: str) -> Stored | None:
        return self._found.get(id)

    def put(self, record: KeyRecord, before: bytes = b"", *, is_operator: bool = False) -> bool:
        self._found[record.id] = Stored(record, record.encode())
        return True

    def since(self, version: int) -> tuple[int, list[KeyRecord]]:
        return version + 1, [each.record for each in self._found.values()]


class Log:
    """Keeps entries."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, *entries: Entry) -> None:
        self.entries += entries


class Service:
    """The routes, whose limits allow a minute's worth of six changes."""

    def __init__(self, **limits: Any) -> None:
        log: Any = Log()
        self.log: Log = log
        stored, keys = Keys(), (OPERATOR, ACME, LIMITED)
        changes = KeyChanges(stored, ApiKeys(keys, stored), 100)
        usage = KeyLimits(LimitSettings(key_change_rate=0.1, **limits))
        auditor = Auditor(log, lambda environ: "192.0.2.7", usage.count_entry)
        views = KeyViews(credentials_of(AuthSettings(api_keys=keys)), changes, (), auditor, usage.count_change)
        app = Flask(__name__)
        app.register_blueprint(views.blueprint())
        install(app)
        self._client = Client(Front(app.wsgi_app, "", publish=lambda request: Response(), name="keys"))

    def ask(self, by: ApiKey, method: str, path: str, body: Any = None) -> TestResponse:
        return self._client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {by.secret}"})

    def create(self, by: ApiKey, **fields: Any) -> TestResponse:
        return self.ask(by, "POST", "/v1/keys", {"name": "x", "scopes": ["publish"]} | fields)

    def entries(self) -> list[tuple[str, str, str, str, Any]]:
        """Return the log, the action, the key, the address and the named tenant of each entry; begin anew."""
        found, self.log.entries = self.log.entries, []
        documents = [(each.tenant, audit.document("1-0", each.text)) for each in found]
        return [
            (log, each["action"], each["key"]["id"], each["address"], each["target"].get("tenant"))
            for log, each in documents
        ]


def test_other_tenant() -> None:
    """The operator's changes to a key of a tenant are in both logs. That of the tenant does not have the address."""
    service = Service()
    id = service.create(OPERATOR, tenant="acme").json["id"]
    service.ask(OPERATOR, "POST", f"/v1/keys/{id}/rotate", {"overlap": 0})
    assert service.ask(OPERATOR, "DELETE", f"/v1/keys/{id}").status_code == 204
    assert service.entries() == [
        entry
        for action in (audit.KEY_CREATED, audit.KEY_ROTATED, audit.KEY_REVOKED)
        for entry in [("", action, "operator", "192.0.2.7", "acme"), ("acme", action, "operator", "", None)]
    ]


@rows(("by", "log"), [(OPERATOR, ""), (ACME, "acme")])
def test_own_tenant(by: ApiKey, log: str) -> None:
    """Changes of a key to a key of its own tenant are in its log. A revocation that changes nothing has no entry."""
    service = Service()
    id = service.create(by, tenant=by.tenant or None).json["id"]
    for _ in range(3):
        assert service.ask(by, "DELETE", f"/v1/keys/{id}").status_code == 204
    actions = (audit.KEY_CREATED, audit.KEY_REVOKED)
    assert service.entries() == [(log, action, by.id, "192.0.2.7", None) for action in actions]


def test_rate() -> None:
    """Creating and rotating keys is limited, and leaves no entry beyond the limit. Revoking is not limited."""
    service = Service()
    ids = [service.create(ACME).json["id"] for _ in range(6)]
    service.entries()
    for answer in (service.create(ACME), service.ask(ACME, "POST", f"/v1/keys/{ids[0]}/rotate")):
        assert (answer.status_code, answer.json["limit"]) == (429, "key_changes")
    assert service.entries() == []
    assert [service.ask(ACME, "DELETE", f"/v1/keys/{id}").status_code for id in ids] == [204] * 6
    assert service.create(OPERATOR, tenant="acme").status_code == 201


def test_rate_of_entries() -> None:
    """Beyond the rate of entries, nothing is done without one; the operator can still revoke."""
    service = Service(key_audit_rate=0.5)
    grants = {"users": ["a"]}
    id = service.create(LIMITED, **grants).json["id"]
    answers = service.create(LIMITED, **grants), service.ask(LIMITED, "DELETE", f"/v1/keys/{id}")
    assert [(answer.status_code, answer.json["limit"]) for answer in answers] == [(429, "key_audit_entries")] * 2
    for _ in range(3):
        assert service.ask(OPERATOR, "DELETE", f"/v1/keys/{id}").status_code == 204
