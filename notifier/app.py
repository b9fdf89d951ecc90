"""The composition root: `create_app` joins the parts and does no I/O; the node begins when its worker starts it."""

import itertools
import logging
import re

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from notifier import errors
from notifier.api import create_api
from notifier.errors import BadRequest, InternalError, Problem
from notifier.node import Node
from notifier.pages import create_pages
from notifier.settings import Settings
from notifier.stream import create_stream

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}\Z", re.ASCII)
_BY_STATUS: dict[int | None, type[Problem]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
}


def create_app(settings: Settings) -> Flask:
    """Return the application. Its node, `app.extensions["notifier"]`, has yet to be started."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    node = app.extensions["notifier"] = Node(settings.require_secrets())
    for create in (create_api, create_stream, create_pages):
        app.register_blueprint(create(node))
    _name_requests(app, node)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_fault)
    return app


def _name_requests(app: Flask, node: Node) -> None:
    """Give every request an id, the caller's own if it has one, and say it in the answer."""
    numbers = itertools.count(1)

    def name() -> None:
        given = request.headers.get("X-Request-Id")
        g.request_id = given if given and _REQUEST_ID.match(given) else f"{node.name}-{next(numbers)}"

    def tell(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        return response

    app.before_request(name)
    app.after_request(tell)


def _answer_problem(problem: Problem) -> Response:
    response = Response(
        msgspec.json.encode(problem.document(g.request_id)),
        status=problem.status,
        mimetype="application/problem+json",
    )
    response.headers.update(problem.headers)
    return response


def _answer_http(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, such as an unknown route, like any other."""
    if error.code is not None and error.code < 400:
        return Response(error.get_response().get_data(), error.code, dict(error.get_headers()))
    kind = _BY_STATUS.get(error.code, InternalError if (error.code or 500) >= 500 else BadRequest)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _answer_problem(kind(error.description or "", headers=headers))


def _answer_fault(error: Exception) -> Response:
    logger.error("Request %s failed", g.request_id, exc_info=error)
    return _answer_problem(InternalError())
