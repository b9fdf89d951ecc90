"""The metrics need a key, except in development mode; the status shows a key the issuers of its tenant."""

import json
from typing import Any

import pytest

from notifier.http.app import create_app
from notifier.protocol.api_key import SCOPES, ApiKey
from notifier.protocol.issuer import parse
from notifier.settings import Settings
from tests.kit.cases import rows
from tests.kit.issuers import SigningKey

API_KEY, METRICS_KEY = "an-api-key-of-the-tests", "the-key-of-prometheus"


def status_of(key: str, **settings: object) -> int:
    """Return the status of a request for the metrics."""
    keys = (ApiKey("shop", API_KEY),)
    app = create_app(Settings.of(redis_url="redis://localhost", api_keys=keys, token_secrets=("s" * 40,), **settings))
    return app.test_client().get("/metrics", headers={"Authorization": f"Bearer {key}"} if key else {}).status_code


def test_no_info(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to ask Redis for INFO, the status has all but that."""
    monkeypatch.setattr("notifier.broker.database.Database.info", lambda _: {})
    keys = (ApiKey("shop", API_KEY),)
    app = create_app(Settings.of(redis_url="redis://localhost", api_keys=keys, token_secrets=("s" * 40,)))
    answer = app.test_client().get("/v1/status", headers={"Authorization": f"Bearer {API_KEY}"})
    assert answer.status_code == 200
    assert answer.json["version"] and set(answer.json["redis"].values()) == {None}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["default", "acme"]),
        ({"scopes": frozenset(SCOPES) - {"admin"}}, ["default"]),
        ({"users": ("alice",)}, ["default"]),
        ({"tenant": "acme"}, ["acme"]),
        ({"tenant": "beta"}, []),
    ],
)
def test_issuers(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], names: list[str]) -> None:
    """The operator's key sees the issuers of all tenants, and any other key those of its own."""
    monkeypatch.setattr("notifier.broker.database.Database.info", lambda _: {})
    issuer = {"audience": ["a"], "jwks": {"keys": [SigningKey("ES256").jwk]}}
    issuers = [issuer | {"issuer": "default"}, issuer | {"issuer": "acme", "tenant": "acme"}]
    keys = (ApiKey("shop", API_KEY, **fields),)
    parsed = parse(json.dumps(issuers))
    app = create_app(Settings.of(redis_url="redis://localhost", api_keys=keys, token_issuers=parsed))
    answer = app.test_client().get("/v1/status", headers={"Authorization": f"Bearer {API_KEY}"})
    assert [each["issuer"] for each in answer.json["issuers"]] == names


@rows(
    ("settings", "key", "status"),
    [
        ({}, "", 401),
        ({}, API_KEY, 200),
        ({"metrics_key": METRICS_KEY}, METRICS_KEY, 200),
        ({"metrics_key": METRICS_KEY}, API_KEY, 200),
        ({"metrics_key": METRICS_KEY}, "another-key", 401),
        ({"metrics_key": METRICS_KEY}, "", 401),
        ({"dev": True}, "", 200),
    ],
)
def test_metrics(settings: dict[str, object], key: str, status: int) -> None:
    """Prometheus has a key of its own, and any API key is accepted, too."""
    assert status_of(key, **settings) == status
