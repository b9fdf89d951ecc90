"""Handshakes of WebSockets: in which order they are checked."""

from typing import Any

import pytest
from flask import Flask

from notifier.errors import InvalidToken, Problem, TooManyConnections
from notifier.http.routes.websocket import WebSocketViews
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.settings import AuthSettings, ConnectionSettings
from tests.kit.credentials import credentials_of


class Full:
    """An acceptor without room. It notes how often it was asked, because it then closes a stranger."""

    def __init__(self) -> None:
        self.asked = 0

    def require_room(self) -> None:
        self.asked += 1
        raise TooManyConnections


@pytest.mark.parametrize(
    ("authorization", "error", "asked"), [("Bearer wrong", InvalidToken, 0), ("", TooManyConnections, 1)]
)
def test_order(authorization: str, error: type[Problem], asked: int) -> None:
    """The room is checked last: a handshake that is rejected takes no place."""
    acceptor: Any = Full()
    views = WebSocketViews(
        credentials_of(AuthSettings()), acceptor, ConnectionSettings(), AddressLimits(LimitSettings()), has_echo=False
    )
    app = Flask(__name__)
    app.register_blueprint(views.blueprint())
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"} | (
        {"Authorization": authorization} if authorization else {}
    )
    with app.test_request_context("/v1/stream", headers=headers), pytest.raises(error):
        views.check()
    assert acceptor.asked == asked
