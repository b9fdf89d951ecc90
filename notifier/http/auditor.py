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
    the request fails. `client_of` returns the address of a request's client. `count` counts an entry for a key, and
    raises `RateLimited` beyond the limit.
    """

    def __init__(
        self, log: AuditLog, client_of: Callable[[dict[str, Any]], str], count: Callable[[ApiKey], None]
    ) -> None:
        self._log = log
        self._client_of = client_of
        self._count = count

    def write(self, request: Request, by: ApiKey, action: str, /, **target: Any) -> None:
        """Write an entry about what a request is about to do to a target.

        Raises:
            BrokerUnavailable, RateLimited
        """
        self._count(by)
        self._log.append(audit.entry(action, self._author(request, by), by, target))

    def write_of_key(self, request: Request, by: ApiKey, action: str, tenant: str, /, **target: Any) -> None:
        """Write an entry about an API key of a tenant, to the log of the tenant, too, if `by` is the operator's.

        The log of the tenant does not have the address of the operator.

        Raises:
            BrokerUnavailable, RateLimited
        """
        if tenant == by.tenant:
            self.write(request, by, action, **target)
            return
        self._count(by)
        author = self._author(request, by)
        own = audit.entry(action, author, by, target | {"tenant": tenant})
        self._log.append(own, audit.entry(action, author._replace(address=""), by, target)._replace(tenant=tenant))

    def broadcast(self, request: Request, key: ApiKey) -> Callable[[str], bytes]:
        """Return a function that makes a command for Redis: it writes the entry of a publication with this id to all.

        The publisher sends it together with the publication.
        """
        author = self._author(request, key)
        return lambda id: self._log.command(audit.entry(audit.BROADCAST, author, key, {"notification": id}))

    def _author(self, request: Request, key: ApiKey) -> Author:
        environ = request.environ
        return Author(key.id, key.name, self._client_of(environ), environ.get(REQUEST_ID, ""))
