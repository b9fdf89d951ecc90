"""A handshake that was refused."""

from websockets.exceptions import WebSocketException
from websockets.http11 import Response


class Refused(WebSocketException):
    """A handshake was answered with another status than 101."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(f"status {response.status_code}")
