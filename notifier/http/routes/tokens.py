"""REST for backends, about tokens: issue and revoke them. docs/http-api.md describes it."""

import secrets
import time

from flask import Blueprint, request
from werkzeug import Response

from notifier.auth.revocations import Revocations
from notifier.errors import NotFound
from notifier.http import body
from notifier.http.answers import json_answer
from notifier.http.auditor import Auditor
from notifier.http.credentials import Credentials
from notifier.protocol import audit, channel, identity
from notifier.protocol.token_request import read_revocation, read_token_request, require_sendable
from notifier.settings import AuthSettings

_MAX_BODY = 262_144  # bytes: two lists of a hundred names, each as two escapes of six for a character


class TokenViews:
    """The views of tokens."""

    def __init__(
        self, credentials: Credentials, settings: AuthSettings, revocations: Revocations, auditor: Auditor
    ) -> None:
        self._credentials = credentials
        self._settings = settings
        self._revocations = revocations
        self._auditor = auditor

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("tokens", __name__)
        blueprint.post("/v1/tokens")(self.create)
        blueprint.post("/v1/tokens/revoke")(self.revoke)
        return blueprint

    def create(self) -> Response:
        """Issue a token for a user, signed with the first secret. The API key must grant the user and all topics."""
        key = self._credentials.require_key(request, "tokens")
        settings = self._settings
        if not settings.token_secrets:
            raise NotFound("This service signs no tokens: NOTIFIER_TOKEN_SECRETS is not set.")
        asked = read_token_request(body.read(request, _MAX_BODY), settings.max_token_age)
        key.require_users([asked.user])
        key.require_channels(map(channel.of_topic, (*asked.topics, *asked.publish)))
        now, id = time.time(), secrets.token_urlsafe(16)
        expires = int(now) + asked.expires_in
        token = identity.sign(
            asked.user,
            settings.token_secrets[0],
            expires,
            asked.topics,
            asked.publish,
            issued=now,
            id=id,
            tenant=key.tenant or None,
            policy=settings.policy,
        )
        answer = json_answer({"token": require_sendable(token), "user": asked.user, "expires": expires, "jti": id})
        answer.status_code = 201
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def revoke(self) -> Response:
        """Revoke tokens on all workers, and close the connections that use them."""
        key = self._credentials.require_key(request, "tokens")
        asked = read_revocation(body.read(request, _MAX_BODY), time.time())
        if asked.id:
            key.require_everyone()  # nobody knows whose token it is
            self._auditor.write(request, key, audit.TOKENS_REVOKED, jti=asked.id)
            self._revocations.revoke_id(asked.id, key.share)
            return json_answer({"jti": asked.id})
        key.require_users([asked.user])
        target = {"user": asked.user, "issued_before": asked.issued_before}
        self._auditor.write(request, key, audit.TOKENS_REVOKED, **target)
        self._revocations.revoke_user(key.scoped(asked.user), asked.issued_before, key.share)
        return json_answer(target)
