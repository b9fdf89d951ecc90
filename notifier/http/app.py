"""The composition root: `create_app` joins the parts and does no I/O; the node begins when its worker starts it."""

import itertools
import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from flask import Flask, request
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from notifier import __version__, errors
from notifier.errors import BadRequest, InternalError, Problem
from notifier.http.credentials import REQUEST_ID
from notifier.http.inbox import create_inbox
from notifier.http.notifications import JSON, PUBLISH, Api
from notifier.http.notifications import create_blueprint as create_api
from notifier.http.pages import create_pages
from notifier.http.stream import create_plain
from notifier.http.topics import create_backend
from notifier.http.websocket import create_stream
from notifier.node import Node
from notifier.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
    api = Api(node)
    blueprints = (create_api(api), create_backend(node, api), create_inbox(node))
    for blueprint in (*blueprints, create_stream(node), create_plain(node), create_pages(node)):
        app.register_blueprint(blueprint)
    app.after_request(_tell_id)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_fault)
    app.wsgi_app = _Front(app.wsgi_app, api, node.name)  # type: ignore[method-assign]
    return app


class _Front:
    """What every request meets first: it gets an id, and a single publication is answered without Flask.

    Flask's dispatch takes a third of the time of a publication, and this is the one route where that counts.
    Everything else, and a publication with an unusual content type, goes to Flask.
    """

    def __init__(self, flask: "WSGIApplication", api: Api, name: str) -> None:
        self._flask = flask
        self._api = api
        self._name = name
        self._numbers = itertools.count(1)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        environ[REQUEST_ID] = given if given and _REQUEST_ID.match(given) else f"{self._name}-{next(self._numbers)}"
        if (
            environ["PATH_INFO"] == PUBLISH
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == JSON
            and not environ["QUERY_STRING"]
        ):
            return self._publish(Request(environ))(environ, start_response)
        return self._flask(environ, start_response)

    def _publish(self, request: Request) -> Response:
        id = request.environ[REQUEST_ID]
        try:
            response = self._api.publish(request)
        except Problem as problem:
            response = _problem_response(problem, id)
        except Exception as error:
            response = _fault_response(error, id)
        _sign(response, id)
        return response


def _sign(response: Response, id: str) -> None:
    """Say which request this answers, and that it was Notifier: a client tells a proxy's answer by that."""
    response.headers["X-Request-Id"] = id
    response.headers["Notifier-Version"] = __version__


def _tell_id(response: Response) -> Response:
    _sign(response, request.environ[REQUEST_ID])
    if request.endpoint == "static":
        response.headers["Access-Control-Allow-Origin"] = "*"  # pages of any origin may import the client
    return response


def _problem_response(problem: Problem, id: str) -> Response:
    body = msgspec.json.encode(problem.document(id))
    response = Response(body, problem.status, content_type="application/problem+json")
    response.headers.update(problem.headers)
    return response


def _fault_response(error: Exception, id: str) -> Response:
    logger.error("Request %s failed", id, exc_info=error)
    return _problem_response(InternalError(), id)


def _answer_problem(problem: Problem) -> Response:
    return _problem_response(problem, request.environ[REQUEST_ID])


def _answer_http(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, such as an unknown route, like any other."""
    if error.code is not None and error.code < 400:
        return Response(error.get_response().get_data(), error.code, dict(error.get_headers()))
    kind = _BY_STATUS.get(error.code, InternalError if (error.code or 500) >= 500 else BadRequest)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    detail = f"The service has no {request.path}: check the URL." if kind is errors.NotFound else error.description
    return _answer_problem(kind(detail or "", headers=headers))


def _answer_fault(error: Exception) -> Response:
    return _fault_response(error, request.environ[REQUEST_ID])
