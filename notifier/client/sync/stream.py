"""The stream for threads: carries out the steps of a listener."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from notifier.client.answer import Answer
from notifier.client.base import StreamBase
from notifier.client.configuration import failure, require_token
from notifier.client.errors import Unreachable
from notifier.client.events import Event
from notifier.client.outcomes import BROKEN, SILENCE, Closed, Opened
from notifier.client.refused import Refused
from notifier.client.steps import Emit, Step


class Connection(ClientConnection):
    """A connection that follows no redirect of its handshake: the token is for one service."""

    def handshake(self, *words: Any) -> None:
        """Perform the handshake.

        Raises:
            Refused: the answer has another status than 101. The library would follow its own error.
        """
        try:
            super().handshake(*words)
        except InvalidStatus as error:
            raise Refused(error.response) from error


class Stream(StreamBase[str], Iterator[Event]):
    """Iterates over the events of a user; see `NotifierClient.listen`.

    It ends when it is closed, also by another thread.
    """

    _socket: ClientConnection | None = None

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._closed = threading.Event()
        self._entered = contextlib.ExitStack()  # closes the socket, if there is one

    def __enter__(self) -> Self:
        """Wait for the welcome: notifications that are published after it are received."""
        while True:
            step = self._peek()
            if self._listener.is_welcome or self._closed.is_set():
                return self
            self._advance(step)

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Event:
        while not self._closed.is_set():
            step = self._peek()
            if isinstance(step, Emit):
                self._done(None)
                return step.event
            self._advance(step)
        self._leave()  # it may have been closed by another thread while it connected
        raise StopIteration

    def _peek(self) -> Step:
        try:
            return self._next_step()
        except Exception:
            self._leave()
            raise

    def _advance(self, step: Step) -> None:
        self._done(self._carry_out(step))

    def close(self) -> None:
        """Acknowledge what was received, and disconnect."""
        self._closed.set()
        if ack := self._listener.take_ack():
            self._send(ack)
        self._leave()

    def _fetch_token(self) -> str | Exception:
        try:
            return require_token(self._get_token())
        except Exception as error:  # whatever the caller's function raises
            return error

    def _connect(self, token: str, timeout: float) -> Opened | Answer | Unreachable:
        url = self._configuration.stream_url
        try:
            self._socket = self._entered.enter_context(
                connect(url, create_connection=Connection, **self._configuration.handshake(token, timeout))
            )
        except Refused as refused:
            return self._configuration.refusal(refused.response)
        except (OSError, WebSocketException) as error:
            return failure(url, error)
        return Opened(self._socket.subprotocol)

    def _send(self, text: str) -> None:
        if self._socket:
            with contextlib.suppress(ConnectionClosed):
                self._socket.send(text)

    def _receive(self, timeout: float) -> str | Closed:
        if not self._socket:
            return BROKEN
        try:
            return self._socket.recv(timeout, decode=True)
        except TimeoutError:
            return SILENCE
        except ConnectionClosed as closed:
            return Closed(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else BROKEN

    def _leave(self) -> None:
        self._socket = None
        self._entered.close()

    def _wait(self, seconds: float) -> None:
        self._closed.wait(seconds)
