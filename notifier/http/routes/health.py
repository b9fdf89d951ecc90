"""Routes for operators: health, readiness, status and metrics."""

import resource
from collections.abc import Callable
from typing import Any

from flask import Blueprint, request
from werkzeug import Response

from notifier import __version__
from notifier.auth.tokens import Tokens
from notifier.broker.database import Database
from notifier.errors import BrokerUnavailable
from notifier.http.answers import json_answer
from notifier.http.credentials import Credentials
from notifier.protocol.api_key import SCOPES
from notifier.settings import Settings
from notifier.telemetry import metrics


class HealthViews:
    """The views of the worker that answers."""

    def __init__(
        self,
        credentials: Credentials,
        database: Database,
        tokens: Tokens,
        is_ready: Callable[[], bool],
        settings: Settings,
    ) -> None:
        self._credentials = credentials
        self._database = database
        self._tokens = tokens
        self._is_ready = is_ready
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("health", __name__)
        blueprint.get("/v1/status")(self.status)
        blueprint.get("/healthz")(self.healthz)
        blueprint.get("/readyz")(self.readyz)
        blueprint.get("/metrics")(self.metrics)
        return blueprint

    def status(self) -> Response:
        """Return the configuration of this worker and of its Redis."""
        key = self._credentials.require_key(request, *SCOPES)
        settings = self._settings
        issuers = [keys for keys in self._tokens.key_sets if key.governs(keys.issuer.policy.tenant)]
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return json_answer(
            {
                "version": __version__,
                "workers": settings.server.workers,
                "open_files": files,
                "max_connections": settings.connections.connection_limit,
                "cookie": settings.auth.cookie,
                "heartbeat": settings.connections.heartbeat,
                "issuers": [{"issuer": keys.issuer.name, "keys": keys.keys, "age": keys.age} for keys in issuers],
                "redis": self._redis(),
            }
        )

    def healthz(self) -> Response:
        """Return 200: this process answers."""
        return json_answer({"status": "ok"})

    def readyz(self) -> Response:
        """Return whether this worker receives notifications from Redis, and can publish."""
        if not self._is_ready():
            detail = "This worker does not receive notifications, cannot publish, or is starting or stopping."
            raise BrokerUnavailable(detail, retry_after=1)
        return json_answer({"status": "ready"})

    def metrics(self) -> Response:
        """Return the metrics of all workers."""
        if not self._settings.server.dev:
            self._credentials.require_metrics_key(request)
        return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)

    def _redis(self) -> dict[str, Any]:
        info = self._database.info()
        if not info:  # the ACL of this user has no INFO
            return dict.fromkeys(("server", "version", "append_only", "maxmemory", "maxmemory_policy", "replicas"))
        return {
            "server": info.get("server_name", "redis"),
            "version": info.get("valkey_version", info.get("redis_version", "")),
            "append_only": info.get("aof_enabled") == "1",
            "maxmemory": int(info.get("maxmemory", 0)),
            "maxmemory_policy": info.get("maxmemory_policy", ""),
            "replicas": int(info.get("connected_slaves", 0)),
        }
