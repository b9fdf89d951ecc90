"""REST for operators, about API keys: create, list, rotate and revoke them. docs/http-api.md describes it."""

import time
from collections.abc import Callable

from flask import Blueprint, request
from werkzeug import Response

from notifier.auth.key_changes import KeyChanges, Made, Retry, covers
from notifier.http import body
from notifier.http.answers import json_answer
from notifier.http.auditor import Auditor
from notifier.http.credentials import Credentials, idempotency_key
from notifier.protocol import audit, key_record
from notifier.protocol.api_key import ApiKey
from notifier.protocol.inbox_query import read_limit
from notifier.protocol.key_request import read_key_request, read_rotation

_MAX_BODY = 262_144  # bytes: two lists of a hundred names, each as two escapes of six for a character
_MOST_LISTED = 1000


class KeyViews:
    """The views of managed keys."""

    def __init__(
        self,
        credentials: Credentials,
        changes: KeyChanges,
        of_settings: tuple[ApiKey, ...],
        auditor: Auditor,
        count_change: Callable[[ApiKey], None],
    ) -> None:
        self._credentials = credentials
        self._changes = changes
        self._of_settings = of_settings
        self._auditor = auditor
        self._count_change = count_change

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("keys", __name__)
        blueprint.get("/v1/keys")(self.list)
        blueprint.post("/v1/keys")(self.create)
        blueprint.post("/v1/keys/<id>/rotate")(self.rotate)
        blueprint.delete("/v1/keys/<id>")(self.revoke)
        return blueprint

    def list(self) -> Response:
        """Return a page of the keys. The first page begins with those of the settings."""
        by = self._by()
        after, limit = request.args.get("after", ""), read_limit(request.args.get("limit", "100"), _MOST_LISTED)
        found, follow = self._changes.page(by, after, limit)
        keys = [each.record.document(_now(), each.used) for each in found]
        shown = [] if after else [_shown(key) for key in self._of_settings if covers(by, key)]
        return json_answer({"keys": shown + keys, "next": follow})

    def create(self) -> Response:
        """Create a key, and return its text: this once."""
        by, text = self._by(), body.read(request, _MAX_BODY)
        asked = read_key_request(text)
        self._changes.require_covered(by, asked)
        retry = Retry(idempotency_key(request, by), text)
        self._count_change(by)
        id = self._changes.new_id(retry)
        rights = {"scopes": asked.scopes, "topics": audit.names(asked.topics), "users": audit.names(asked.users)}
        tenant = by.tenant if asked.tenant is None else asked.tenant
        self._auditor.write_of_key(request, by, audit.KEY_CREATED, tenant, key=id, name=asked.name, **rights)
        return _answer(self._changes.create(by, id, asked, retry), 201)

    def rotate(self, id: str) -> Response:
        """Give a key a new secret, and return its text: this once."""
        by, text = self._by(), body.read(request, _MAX_BODY)
        overlap = read_rotation(text)
        found = self._changes.find(by, id)
        made = self._changes.new_secret(found, overlap, Retry(idempotency_key(request, by), text))
        self._count_change(by)
        record = found.record
        self._auditor.write_of_key(
            request, by, audit.KEY_ROTATED, record.tenant, key=id, name=record.name, overlap=overlap
        )
        return _answer(self._changes.rotate(found, made), 200)

    def revoke(self, id: str) -> Response:
        """Revoke a key on all workers."""
        by = self._by()
        found = self._changes.find(by, id)
        record = found.record
        if not record.revoked:
            self._auditor.write_of_key(request, by, audit.KEY_REVOKED, record.tenant, key=id, name=record.name)
            self._changes.revoke(found)
        return Response(status=204)

    def _by(self) -> ApiKey:
        return self._credentials.require_key(request, "admin")


def _answer(made: Made, status: int) -> Response:
    answer = json_answer({"key": made.text} | made.record.document(_now()))
    answer.status_code = status
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _shown(key: ApiKey) -> dict[str, object]:
    """Return what may be shown of a key of the settings: the same fields as those of a record."""
    return key_record.of_settings(key).document(_now())


def _now() -> int:
    return int(1000 * time.time())
