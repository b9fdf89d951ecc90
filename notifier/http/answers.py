"""Answers: JSON and ETags, problems, and the headers of every answer."""

import errno
import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from flask import Flask, request
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_date

from notifier import __version__, errors
from notifier.errors import BadRequest, InternalError, PreconditionFailed, Problem
from notifier.http.names import require_utf8

logger = logging.getLogger(__name__)

REQUEST_ID = "notifier.request_id"  # the key of the request id in the environ
JSON, NDJSON = "application/json", "application/x-ndjson"
_BY_STATUS: dict[int | None, type[Problem]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
}

_MAX_RANGE = 256  # bytes of the header
_DATES = "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"  # the keys of headers that may have a date

encode = msgspec.json.Encoder().encode


def json_answer(document: dict[str, Any]) -> Response:
    """Return an answer that is a JSON object."""
    return Response(encode(document), content_type=JSON)


def streamed_answer(document: dict[str, Any], confirm: Callable[[], object]) -> Response:
    """Return an answer that is a JSON object and is made while it is sent.

    Iterators in the document become arrays; they yield lists of elements. `confirm` is called before each list, and
    raises if the client may have no more. An error ends the connection within the answer, so that no client takes it
    for complete.
    """
    return Response(_uninterrupted(_written(document, confirm), request.environ[REQUEST_ID]), content_type=JSON)


def _written(document: dict[str, Any], confirm: Callable[[], object]) -> Iterator[bytes]:
    for number, (name, value) in enumerate(document.items()):
        yield (b"," if number else b"{") + encode(name) + b":"
        if not isinstance(value, Iterator):
            yield encode(value)
            continue
        separator = b"["
        for elements in value:
            confirm()
            if elements:
                yield separator + encode(elements)[1:-1]
                separator = b","
        yield b"]" if separator == b"," else b"[]"
    yield b"}"


def _uninterrupted(parts: Iterator[bytes], id: str) -> Iterator[bytes]:
    try:
        yield from parts
    except Problem as problem:
        logger.warning("The answer to request %s was cut off: %s", id, problem.detail or problem.title)
        # gunicorn closes the connection as if the client had: without the end of the answer, and without a traceback.
        raise BrokenPipeError(errno.EPIPE, "the answer was cut off") from problem


def tagged_answer(asked: Request, document: dict[str, Any], untagged: dict[str, Any] | None = None) -> Response:
    """Return an answer with an ETag of the document, or 304 if the client has this version (RFC 9110 section 13.1.2).

    The members of `untagged` are sent too, but change with time alone: the ETag does not depend on them.

    Raises:
        PreconditionFailed: the ETag in `If-Match` is stale.
    """
    tag = hashlib.blake2b(encode(document), digest_size=12).hexdigest()
    response = json_answer(document | (untagged or {}))
    response.set_etag(tag)
    response.make_conditional(asked)
    if response.status_code == PreconditionFailed.status:
        raise PreconditionFailed(headers={"ETag": response.headers["ETag"]})
    return response


def problem_answer(problem: Problem, id: str) -> Response:
    """Return a problem as an answer (RFC 9457). `id` is that of the request."""
    response = Response(encode(problem.document(id)), problem.status, content_type="application/problem+json")
    response.headers.update(problem.headers)
    return response


def fault_answer(error: Exception, id: str) -> Response:
    """Log an unexpected error and return the answer to its request, which has the id `id`."""
    logger.error("Request %s failed", id, exc_info=error)
    return problem_answer(InternalError(), id)


def sign(response: Response, id: str) -> None:
    """Add the request id and the version. Clients recognize answers of the service, not of a proxy, by the latter."""
    response.headers["X-Request-Id"] = id
    response.headers["Notifier-Version"] = __version__


def install(app: Flask) -> None:
    """Sign all answers of an application, answer its errors with problems, and reject malformed paths and queries."""
    app.url_map.merge_slashes = False  # a redirect would name the host and the scheme that the client has sent
    app.before_request(require_utf8)
    app.before_request(_ignore_impossible_dates)
    app.before_request(_ignore_many_ranges)
    app.after_request(_sign)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_fault)


def _ignore_impossible_dates() -> None:
    """Ignore conditions with a date that overflows when Werkzeug reads it (RFC 9110 section 13.1.3).

    A range whose condition cannot be read is ignored with it: the answer is the whole.
    """
    environ = request.environ
    for name in _DATES:
        try:
            parse_date(environ.get(name))
        except OverflowError:
            del environ[name]
            environ.pop("HTTP_RANGE", None)


def _ignore_many_ranges() -> None:
    """Ignore a long list of ranges, as RFC 9110 section 14.2 allows: to read thousands of them takes milliseconds."""
    if len(request.environ.get("HTTP_RANGE", "")) > _MAX_RANGE:
        del request.environ["HTTP_RANGE"]


def _sign(response: Response) -> Response:
    sign(response, request.environ[REQUEST_ID])
    if request.endpoint == "static":
        response.headers["Access-Control-Allow-Origin"] = "*"  # pages of any origin may import the client
    return response


def _answer_problem(problem: Problem) -> Response:
    return problem_answer(problem, request.environ[REQUEST_ID])


def _answer_http(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, such as an unknown route, with a problem."""
    if error.code is not None and error.code < 400:
        return Response(error.get_response().get_data(), error.code, dict(error.get_headers()))
    kind = _BY_STATUS.get(error.code, InternalError if (error.code or 500) >= 500 else BadRequest)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    detail = f"The service has no {request.path}: check the URL." if kind is errors.NotFound else error.description
    return _answer_problem(kind(detail or "", headers=headers))


def _answer_fault(error: Exception) -> Response:
    return fault_answer(error, request.environ[REQUEST_ID])
