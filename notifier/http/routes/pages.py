"""Pages for people: the list of errors, and in development mode the demo."""

import re
import time
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, jsonify, render_template, request, url_for

from notifier import errors
from notifier.protocol import identity
from notifier.settings import AuthSettings, Settings

USERS = ("alice", "bob")
TOPIC = "orders"
_ADDRESS = re.compile(r"[\d.]+\Z|[\da-f:]*:[\da-f:.]*\Z")  # IPv4 or IPv6
_TOKEN_AGE = 3600  # seconds


def create_pages(settings: Settings) -> Blueprint:
    """Return the routes. Those of the demo exist in development mode only."""
    blueprint = Blueprint("pages", __name__)
    blueprint.get("/docs/errors")(error_table)
    if settings.server.dev:
        demo = Demo(settings.auth)
        blueprint.get("/")(demo.show)
        blueprint.get("/demo/token")(demo.token)
    blueprint.after_request(_protect)
    return blueprint


def error_table() -> str:
    """Return the list of all error codes: the `type` of a problem is a link to it."""
    return render_template(
        "errors.html",
        problems=sorted(errors.Problem.__subclasses__(), key=lambda kind: (kind.status, kind.code)),
        disconnects=sorted(errors.Disconnect.__subclasses__(), key=lambda kind: kind.close_code),
    )


class Demo:
    """Two clients side by side, to try the service."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings

    def show(self) -> str:
        """Return the page."""
        _require_local_name()
        return render_template(
            "demo.html",
            users=[{"name": user, "token_url": url_for(".token", user=user)} for user in USERS],
            api_key=self._settings.api_keys[0].secret,
            publish_url=url_for("notifications.publish", _external=True),
        )

    def token(self) -> Response:
        """Return a token for a user of the demo, as a backend does for its own users."""
        _require_local_name()
        user = request.args.get("user", "")
        if user not in USERS:
            abort(404)
        secret, now, policy = self._settings.token_secrets[0], time.time(), self._settings.policy
        grants = (TOPIC,), (TOPIC,)
        return jsonify(token=identity.sign(user, secret, now + _TOKEN_AGE, *grants, issued=now, policy=policy))


def _require_local_name() -> None:
    """Reject requests to other host names.

    The name of another site may resolve to this address (DNS rebinding): its pages could read the key.
    """
    try:
        host = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname or ""
    except ValueError:  # a bracket without its other half, or without an address
        host = ""
    if host != "localhost" and not host.endswith(".localhost") and not _ADDRESS.match(host):
        abort(404)


def _protect(response: Response) -> Response:
    """Forbid pages to load anything of other origins, and to be framed."""
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
