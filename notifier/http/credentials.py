"""Visitors: who a request for the stream says it is, and which page may read its answer."""

from flask import Request

from notifier.errors import ForeignOrigin, InvalidToken
from notifier.node import Node
from notifier.protocol.identity import Identity

REQUEST_ID = "notifier.request_id"  # where it is in the environ
_EXPOSED = {"Access-Control-Expose-Headers": "ETag, Retry-After, X-Request-Id"}


class Credentials:
    """One request and its token, which is in a header or in the cookie."""

    def __init__(self, node: Node, request: Request) -> None:
        self._node = node
        self._settings = node.settings
        self._request = request

    def identity(self) -> Identity | None:
        """Return who it is; None: it does not say.

        Raises:
            InvalidToken, TokenExpired: the token is not good.
            ForeignOrigin: the token is in a cookie, and another site's page may have caused the request.
        """
        headers = self._request.headers
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._node.verify(token.strip())
        cookie = self._request.cookies.get(self._settings.cookie) if "Cookie" in headers else None
        if cookie is None:
            return None
        if not self._is_own_page():
            raise ForeignOrigin(f"{headers.get('Origin') or 'A request without an Origin'} may not use the cookie.")
        return self._node.verify(cookie)

    def require_identity(self) -> Identity:
        """Return who it is.

        Raises:
            InvalidToken: it does not say; and as above.
        """
        who = self.identity()
        if who is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="notifier"'}
            raise InvalidToken("Send Authorization: Bearer <token>, or the cookie.", headers=challenge)
        return who

    def sharing(self) -> dict[str, str]:
        """Return the headers that let pages of other origins read the answer.

        A token in a header is theirs to send, so all may; the cookie may be used by those that the settings name.
        """
        origin = self._request.headers.get("Origin")
        if origin is None:
            return {}
        if origin not in self._settings.allowed_origins:
            return {"Access-Control-Allow-Origin": "*", **_EXPOSED}
        own = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
        return own | _EXPOSED

    def _is_own_page(self) -> bool:
        """Tell whether the request comes from a page that may use the cookie.

        Browsers send an Origin with every handshake and with all that changes something, but not with a plain GET of
        the same origin. Where another site causes one of those, its page cannot read the answer.
        """
        headers = self._request.headers
        origin, host = headers.get("Origin"), self._request.environ.get("HTTP_HOST")
        if origin is None and self._request.method in ("GET", "HEAD") and "Upgrade" not in headers:
            return headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        own = (f"https://{host}", f"http://{host}") if host else ()
        return origin in own or origin in self._settings.allowed_origins
