"""REST for backends, about users: export, erase and disconnect. docs/http-api.md describes it."""

from flask import Blueprint, request
from werkzeug import Response

from notifier.audience.users import Users
from notifier.http.answers import streamed_answer
from notifier.http.auditor import Auditor
from notifier.http.body import CONFIRM
from notifier.http.credentials import Credentials
from notifier.http.names import require_user, routes_with_names
from notifier.limits.requests import RequestLimits
from notifier.protocol import audit
from notifier.protocol.api_key import ApiKey


class UserViews:
    """The views of users."""

    def __init__(self, credentials: Credentials, users: Users, auditor: Auditor, limits: RequestLimits) -> None:
        self._credentials = credentials
        self._limits = limits
        self._auditor = auditor
        self._users = users

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint, user = routes_with_names("users"), "/v1/users/<name:user>"
        blueprint.get(f"{user}/export", merge_slashes=False)(self.export)
        blueprint.delete(user, merge_slashes=False)(self.erase)
        blueprint.post(f"{user}/disconnect", merge_slashes=False)(self.disconnect)
        return blueprint

    def export(self, user: str) -> Response:
        """Return everything that is stored about a user. The answer is made while it is sent."""
        key = self._check(user)
        self._limits.enter_export(request.environ, key.load)
        self._auditor.write(request, key, audit.EXPORTED, user=user)
        document = self._users.export(key.scoped(user))
        return streamed_answer(document, request.environ[CONFIRM])

    def erase(self, user: str) -> Response:
        """Remove everything that is stored about a user."""
        self._users.erase(self._admit(user, audit.ERASED))
        return Response(status=204)

    def disconnect(self, user: str) -> Response:
        """Close all connections of a user."""
        self._users.disconnect(self._admit(user, audit.DISCONNECTED))
        return Response(status=202)

    def _admit(self, user: str, action: str) -> str:
        """Return the user of the key's tenant, and write the audit log.

        Raises:
            Forbidden, BadRequest
        """
        key = self._check(user)
        self._auditor.write(request, key, action, user=user)
        return key.scoped(user)

    def _check(self, user: str) -> ApiKey:
        key = self._credentials.require_key(request, "users")
        require_user(user)
        key.require_users([user])
        return key
