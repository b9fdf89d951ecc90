"""Pages for people: the errors' page, and in development mode the demo."""

import re
import time
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, jsonify, render_template, request, url_for

from notifier import errors
from notifier.node import Node
from notifier.protocol import identity

USERS = ("alice", "bob")
TOPIC = "orders"
_ADDRESS = re.compile(r"[\d.]+\Z|[\da-f:]*:[\da-f:.]*\Z")  # IPv4 or IPv6
_TOKEN_AGE = 3600  # seconds


def create_pages(node: Node) -> Blueprint:
    """Return the routes; the demo's are there in development mode only."""
    blueprint = Blueprint("pages", __name__)
    blueprint.get("/docs/errors")(error_table)
    if node.settings.dev:
        demo = Demo(node)
        blueprint.get("/")(demo.show)
        blueprint.get("/demo/token")(demo.token)
    blueprint.after_request(_protect)
    return blueprint


def error_table() -> str:
    """Show every error code: the `type` of a problem leads here."""
    return render_template(
        "errors.html",
        problems=sorted(errors.Problem.__subclasses__(), key=lambda kind: (kind.status, kind.code)),
        disconnects=sorted(errors.Disconnect.__subclasses__(), key=lambda kind: kind.close_code),
    )


class Demo:
    """Two clients side by side, for trying things out."""

    def __init__(self, node: Node) -> None:
        self._settings = node.settings

    def show(self) -> str:
        """Show the page."""
        _require_local_name()
        return render_template(
            "demo.html",
            users=[{"name": user, "token_url": url_for(".token", user=user)} for user in USERS],
            api_key=self._settings.api_keys[0].secret,
            publish_url=url_for("api.publish", _external=True),
        )

    def token(self) -> Response:
        """Give out a token for one of the demo's users, as a backend would for its own."""
        _require_local_name()
        user = request.args.get("user", "")
        if user not in USERS:
            abort(404)
        secret, expires = self._settings.token_secrets[0], time.time() + _TOKEN_AGE
        return jsonify(token=identity.sign(user, secret, expires, (TOPIC,), (TOPIC,)))


def _require_local_name() -> None:
    """Refuse a request by another name: a foreign page may have let its own name point here, to read the key."""
    host = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname or ""
    if host != "localhost" and not host.endswith(".localhost") and not _ADDRESS.match(host):
        abort(404)


def _protect(response: Response) -> Response:
    """Let pages load nothing from elsewhere and nobody frame them."""
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
