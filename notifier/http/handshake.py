"""The answer to the opening handshake of a WebSocket."""

from collections.abc import Mapping
from typing import Any

from notifier.protocol import websocket

SUBPROTOCOL = "notifier.v1"


def accept(environ: Mapping[str, Any]) -> bytes:
    """Return the response that completes the handshake of a request.

    Raises:
        UpgradeRequired, BadRequest
    """
    return websocket.accept(
        environ.get("HTTP_SEC_WEBSOCKET_KEY", ""),
        environ.get("HTTP_SEC_WEBSOCKET_VERSION", ""),
        environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""),
        SUBPROTOCOL,
    )
