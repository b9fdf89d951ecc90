"""Sharing with pages of other origins (CORS): preflights, and headers on every answer to a page."""

from flask import Flask, request
from werkzeug import Request, Response

from notifier.http.credentials import Credentials

_SHARED = ("/v1/inbox", "/v1/stream")  # these paths and those below them
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT",
    "Access-Control-Allow-Headers": (
        "Authorization, Cache-Control, Content-Type, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
    ),
    "Access-Control-Max-Age": "7200",
}


class Sharing:
    """Adds the headers that `credentials` allows, also to errors and to answers of paths that do not exist.

    Without them a page sees a network error instead of the answer.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def install(self, app: Flask) -> None:
        """Share the answers of an application."""
        app.before_request(self.answer_preflight)
        app.after_request(self.share)

    def answer_preflight(self) -> Response | None:
        """Return which requests pages of other origins may send, if the request asks for that."""
        if request.method == "OPTIONS" and _is_shared(request.path):
            return Response(status=204, headers=_PREFLIGHT)
        return None

    def share(self, response: Response) -> Response:
        """Allow pages of other origins to read the answer."""
        if _is_shared(request.path):
            response.headers.update(self._credentials.sharing(request))
        return response

    def share_refusal(self, refused: Request, refusal: Response) -> Response:
        """Return the answer to a request that is refused before its route is known, so that any page can read it.

        A preflight is not refused: the browser would not send the request whose answer says why.
        """
        if refused.method == "OPTIONS" and _is_shared(refused.path):
            refusal = Response(status=204, headers=_PREFLIGHT)
        refusal.headers.update({"Access-Control-Allow-Origin": "*"} | self._credentials.sharing(refused))
        return refusal


def _is_shared(path: str) -> bool:
    return path.startswith(_SHARED) and (path in _SHARED or path.startswith(("/v1/inbox/", "/v1/stream/")))
