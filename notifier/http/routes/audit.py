"""REST for operators, about the audit log. docs/http-api.md describes it."""

import flask
from flask import Blueprint
from werkzeug import Response

from notifier.broker.audit_log import AuditLog
from notifier.http.answers import json_answer
from notifier.http.credentials import Credentials
from notifier.http.names import require_tenant
from notifier.protocol import audit
from notifier.protocol.inbox_query import read_limit


class AuditViews:
    """The view of the audit log."""

    def __init__(self, credentials: Credentials, log: AuditLog) -> None:
        self._credentials = credentials
        self._log = log

    def blueprint(self) -> Blueprint:
        """Return the route."""
        blueprint = Blueprint("audit", __name__)
        blueprint.get("/v1/audit")(self.list)
        return blueprint

    def list(self) -> Response:
        """Return a page of the audit log, the newest entries first. Its key must grant all topics and users.

        It is that of the key's tenant; a key of the default tenant may name another one.
        """
        request = flask.request
        key = self._credentials.require_key(request, "admin")
        key.require_unlimited()
        tenant = request.args.get("tenant", key.tenant)
        if tenant != key.tenant:
            key.require_default_tenant()
            require_tenant(tenant)
        limit = read_limit(request.args.get("limit", "100"), audit.MAX_LIMIT)
        found = self._log.page(audit.read_before(request.args.get("before", "")), limit, tenant)
        return json_answer({"entries": found, "next": found[-1]["id"] if len(found) == limit else None})
