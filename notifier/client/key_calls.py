"""The calls of an operator about API keys and the audit log, without I/O, as in `notifier.client.calls`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from notifier.client.answer import JSON, Answer, Request
from notifier.client.calls import Calls, Steps, query_of, quoted
from notifier.client.checks import Names, names_of, new_key
from notifier.client.keys import AuditEntry, Key, NewKey, read_entry, read_key, read_new_key
from notifier.client.notification import encode

_KEYS, _AUDIT = "API keys", "audit log"  # parts that older services do not have
_MOST = 1000  # of a page


class KeysPage(NamedTuple):
    """A page of the keys. Pass `next` as `after` to get the next page; it is None on the last page."""

    keys: tuple[Key, ...]
    next: str | None


class AuditPage(NamedTuple):
    """A page of the audit log. Pass `next` as `before` to get the next page; it is None on the last page."""

    entries: tuple[AuditEntry, ...]
    next: str | None


@dataclass(frozen=True)
class KeyCalls:
    """The calls about keys. If an answer is lost, a retry creates no second key, and ends no secret that is in use."""

    calls: Calls

    def create(
        self,
        name: str,
        scopes: Names,
        topics: Names | None,
        users: Names | None,
        expires_in: int | None,
        test: bool,
        tenant: str | None,
        deadline: float | None,
    ) -> Steps[NewKey]:
        """Create a key."""
        asked: dict[str, Any] = {"name": name, "scopes": names_of(scopes), "test": test}
        for field, patterns in (("topics", topics), ("users", users)):
            if patterns is not None:
                asked[field] = names_of(patterns)
        for field, value in (("expires_in", expires_in), ("tenant", tenant)):
            if value is not None:
                asked[field] = value
        answer = yield from self._ask("POST", "/v1/keys", deadline, asked)
        return read_new_key(answer.json())

    def page(self, after: str | None, deadline: float | None) -> Steps[KeysPage]:
        """Return a page of the keys: those after the id `after`."""
        answer = yield from self._ask("GET", f"/v1/keys?{query_of({'limit': _MOST, 'after': after})}", deadline)
        document = answer.json()
        return KeysPage(tuple(map(read_key, document["keys"])), document["next"])

    def rotate(self, id: str, overlap: int | None, deadline: float | None) -> Steps[NewKey]:
        """Give a key a new secret."""
        asked = {} if overlap is None else {"overlap": overlap}
        answer = yield from self._ask("POST", f"{_path_of(id)}/rotate", deadline, asked)
        return read_new_key(answer.json())

    def revoke(self, id: str, deadline: float | None) -> Steps[None]:
        """Revoke a key."""
        yield from self._ask("DELETE", _path_of(id), deadline)

    def audit(self, before: str | None, tenant: str | None, deadline: float | None) -> Steps[AuditPage]:
        """Return a page of the audit log: the entries before the id `before`, the newest first."""
        query = query_of({"limit": _MOST, "before": before, "tenant": tenant})
        request = Request("GET", f"/v1/audit?{query}", self.calls.headers())
        document = (yield from self.calls.ask(request, deadline, _AUDIT)).json()
        return AuditPage(tuple(map(read_entry, document["entries"])), document["next"])

    def _ask(
        self, method: str, path: str, deadline: float | None, document: Mapping[str, Any] | None = None
    ) -> Steps[Answer]:
        headers = self.calls.headers(None if document is None else JSON)
        if document is not None:
            headers["Idempotency-Key"] = new_key()
        body = b"" if document is None else encode(document)
        # An unknown key is answered 404, too: only the collection shows whether the service has keys.
        part = _KEYS if path.partition("?")[0] == "/v1/keys" else None
        return (yield from self.calls.ask(Request(method, path, headers, body), deadline, part))


def _path_of(id: str) -> str:
    return f"/v1/keys/{quoted(id)}"
