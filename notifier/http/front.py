"""The front: gives each request an id, and answers a single publication without Flask."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from werkzeug import Request, Response

from notifier.errors import HeadTooLarge, Problem
from notifier.http import body
from notifier.http.answers import JSON, REQUEST_ID, fault_answer, problem_answer, sign
from notifier.http.hosts import Hosts
from notifier.http.sharing import Sharing
from notifier.limits.requests import RequestLimits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SMALL = 4096  # bytes: the number of requests limits how many of shorter items are in memory
_MAX_TAGS = 1024  # bytes of a header with ETags, some dozens: to read 64 KB of them takes 40 ms
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}\Z", re.ASCII)


class _Answer:
    """The body of an answer. Its request counts until the server has written it, or has failed to, and closes it."""

    __slots__ = ("_body", "_environ", "_limits")

    def __init__(self, body: Iterable[bytes], environ: "WSGIEnvironment", limits: RequestLimits) -> None:
        self._body = body
        self._environ = environ
        self._limits = limits

    def __iter__(self) -> Iterator[bytes]:
        for item in self._body:
            size = len(item)
            if size < _SMALL:
                yield item
            else:  # the next item is asked for when this one has been written
                self._limits.send(self._environ, size)
                yield item
                self._limits.sent(self._environ, size)

    def close(self) -> None:
        """Note that the request has ended."""
        try:
            close = getattr(self._body, "close", None)
            if close:
                close()
        finally:
            self._limits.end(self._environ)


class Front:
    """The outermost WSGI application. `publish` answers a POST of one notification to `path`.

    Requests to other `hosts` are rejected here, so on every way in.

    Flask's dispatch takes a third of the time of a publication, and this is the one route where that counts.
    All other requests, and publications with an unusual content type, go to Flask. `limits` counts requests, and `pace`
    says how fast their bodies must arrive. `sharing` makes refusals readable for pages.
    """

    def __init__(
        self,
        flask: "WSGIApplication",
        path: str,
        publish: Callable[[Request], Response],
        name: str,
        hosts: Hosts | None = None,
        limits: RequestLimits | None = None,
        pace: body.Pace = body.PATIENT,
        sharing: Sharing | None = None,
    ) -> None:
        self._flask = flask
        self._hosts = hosts or Hosts(())
        self._limits = limits
        self._hold = limits.receive if limits else None
        self._pace = pace
        self._sharing = sharing
        self._path = path
        self._publish = publish
        self._name = name  # of the worker: makes request ids unique in the service
        self._numbers = itertools.count(1)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        environ[REQUEST_ID] = given if given and _REQUEST_ID.match(given) else f"{self._name}-{next(self._numbers)}"
        environ[body.PACE] = self._pace
        environ[body.HOLD] = self._hold
        limits = self._limits
        try:
            answer = self._serve(environ, start_response)
        except BaseException:  # StopIteration: a stream has the socket
            if limits:
                limits.end(environ)
            raise
        return _Answer(answer, environ, limits) if limits else answer

    def _serve(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            if self._limits:
                self._limits.begin(environ)
            self._hosts.check(environ)
            _check_tags(environ)
            return self._pass_on(environ, start_response)
        except Problem as problem:
            return self._refuse(problem, environ)(environ, start_response)

    def _pass_on(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if (
            environ["PATH_INFO"] == self._path
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == JSON
            and not environ["QUERY_STRING"]
        ):
            return self._answer(Request(environ))(environ, start_response)
        return self._flask(environ, start_response)

    def _refuse(self, problem: Problem, environ: "WSGIEnvironment") -> Response:
        id = environ[REQUEST_ID]
        response = problem_answer(problem, id)
        if self._sharing:
            response = self._sharing.share_refusal(Request(environ), response)
        sign(response, id)
        return response

    def _answer(self, request: Request) -> Response:
        id = request.environ[REQUEST_ID]
        try:
            response = self._publish(request)
        except Problem as problem:
            response = problem_answer(problem, id)
        except Exception as error:
            response = fault_answer(error, id)
        sign(response, id)
        return response


def _check_tags(environ: "WSGIEnvironment") -> None:
    """Reject long lists of ETags.

    Raises:
        HeadTooLarge
    """
    if len(environ.get("HTTP_IF_NONE_MATCH", "")) > _MAX_TAGS or len(environ.get("HTTP_IF_MATCH", "")) > _MAX_TAGS:
        raise HeadTooLarge(f"If-Match and If-None-Match have at most {_MAX_TAGS} bytes.")
