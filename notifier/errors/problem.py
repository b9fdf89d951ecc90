"""The root of all problems, and the faults that they list."""

from typing import Any, ClassVar, NamedTuple


class Fault(NamedTuple):
    """One fault in the body of a request.

    `pointer` is an RFC 6901 JSON pointer to it, `code` is stable, `detail` is for people.
    """

    pointer: str
    code: str
    detail: str


class Problem(Exception):
    """The root of all problems: a request failed.

    Every problem has a docstring, which says what happened, and a `remedy`, which says what to do: the page
    `/docs/errors` shows both. `detail` is a sentence for people, `faults` lists what is not valid and where,
    `retry_after` is in seconds, `headers` are added to the HTTP response, and `fields` to the problem.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        faults: list[Fault] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.faults = faults or []
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        self.fields = fields

    def document(self, request_id: str = "") -> dict[str, Any]:
        """Return the problem as a JSON object (RFC 9457)."""
        document: dict[str, Any] = {
            "type": f"/docs/errors#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.retry_after is not None:
            document["retry_after"] = self.retry_after
        if self.faults:
            document["errors"] = [fault._asdict() for fault in self.faults]
        if request_id:
            document["request_id"] = request_id
        return document | self.fields
