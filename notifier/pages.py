"""Pages for people: the errors' page, and in development mode the demo."""

import time

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request, url_for

from notifier import errors
from notifier.node import Node
from notifier.protocol import identity

USERS = ("alice", "bob")
TOPIC = "orders"
_TOKEN_AGE = 3600  # seconds

pages = Blueprint("pages", __name__)
demo = Blueprint("demo", __name__)


@pages.get("/docs/errors")
def error_table() -> str:
    """Show every error code: the `type` of a problem leads here."""
    return render_template(
        "errors.html",
        problems=sorted(errors.Problem.__subclasses__(), key=lambda kind: (kind.status, kind.code)),
        disconnects=sorted(errors.Disconnect.__subclasses__(), key=lambda kind: kind.close_code),
    )


@demo.get("/")
def show_demo() -> str:
    """Show two clients side by side."""
    return render_template(
        "demo.html",
        users=[{"name": user, "token_url": url_for("demo.token", user=user)} for user in USERS],
        api_key=_node().settings.api_keys[0].secret,
        publish_url=url_for("api.publish", _external=True),
    )


@demo.get("/demo/token")
def token() -> Response:
    """Give out a token for one of the demo's users, as a backend would for its own."""
    user = request.args.get("user", "")
    if user not in USERS:
        abort(404)
    secret = _node().settings.token_secrets[0]
    return jsonify(token=identity.sign(user, secret, time.time() + _TOKEN_AGE, (TOPIC,), (TOPIC,)))


@pages.after_app_request
def protect(response: Response) -> Response:
    """Let pages load nothing from elsewhere and nobody frame them."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _node() -> Node:
    node: Node = current_app.extensions["notifier"]
    return node
