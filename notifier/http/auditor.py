"""The auditor: writes entries about requests to the audit log."""

from collections.abc import Callable
from typing import Any

from werkzeug import Request

from notifier.broker.audit_log import AuditLog
from notifier.http.answers import REQUEST_ID
from notifier.protocol import audit
from notifier.protocol.api_key import ApiKey
from notifier.protocol.audit import Author


class Auditor:
    """Writes entries about requests.

    An entry is written before its request is carried out, so that nothing is done without one: if it cannot be written,
    the request fails. `client_of` returns the address of a request's client.
    """

    def __init__(self, log: AuditLog, client_of: Callable[[dict[str, Any]], str]) -> None:
        self._log = log
        self._client_of = client_of

    def write(self, request: Request, by: ApiKey, action: str, /, **target: Any) -> None:
        """Write an entry about what a request is about to do to a target.

        Raises:
            BrokerUnavailable
        """
        self._log.append(audit.encode(action, self._author(request, by), target), by.tenant)

    def broadcast(self, request: Request, key: ApiKey) -> Callable[[str], bytes]:
        """Return a function that makes a command for Redis: it writes the entry of a publication with this id to all.

        The publisher sends it together with the publication.
        """
        author = self._author(request, key)
        return lambda id: self._log.command(audit.encode(audit.BROADCAST, author, {"notification": id}), key.tenant)

    def _author(self, request: Request, key: ApiKey) -> Author:
        environ = request.environ
        return Author(key.id, key.name, self._client_of(environ), environ.get(REQUEST_ID, ""))
