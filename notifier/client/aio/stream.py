"""The stream for asyncio: carries out the steps of a listener."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

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

    async def handshake(self, *words: Any) -> None:
        """Perform the handshake.

        Raises:
            Refused: the answer has another status than 101. The library would follow its own error.
        """
        try:
            await super().handshake(*words)
        except InvalidStatus as error:
            raise Refused(error.response) from error


class AsyncStream(StreamBase[str | Awaitable[str]], AsyncIterator[Event]):
    """Iterates over the events of a user; see `NotifierClient.listen`.

    It ends when it is closed, also by another task.
    """

    _socket: ClientConnection | None = None

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Wait for the welcome: notifications that are published after it are received."""
        while True:
            step = await self._peek()
            if self._listener.is_welcome or self._closed.is_set():
                return self
            await self._advance(step)

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __anext__(self) -> Event:
        while not self._closed.is_set():
            step = await self._peek()
            if isinstance(step, Emit):
                self._done(None)
                return step.event
            await self._advance(step)
        await self._leave()  # it may have been closed by another task while it connected
        raise StopAsyncIteration

    async def _peek(self) -> Step:
        try:
            return self._next_step()
        except Exception:
            await self._leave()
            raise

    async def _advance(self, step: Step) -> None:
        self._done(await self._carry_out(step))

    async def close(self) -> None:
        """Acknowledge what was received, and disconnect."""
        self._closed.set()
        if ack := self._listener.take_ack():
            await self._send(ack)
        await self._leave()

    async def _fetch_token(self) -> str | Exception:
        try:
            token = self._get_token()
            return require_token(await token if inspect.isawaitable(token) else token)
        except Exception as error:  # whatever the caller's function raises
            return error

    async def _connect(self, token: str, timeout: float) -> Opened | Answer | Unreachable:
        url = self._configuration.stream_url
        try:
            self._socket = await connect(
                url, create_connection=Connection, **self._configuration.handshake(token, timeout)
            )
        except Refused as refused:
            return self._configuration.refusal(refused.response)
        except (OSError, WebSocketException) as error:
            return failure(url, error)
        return Opened(self._socket.subprotocol)

    async def _send(self, text: str) -> None:
        if self._socket:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(text)

    async def _receive(self, timeout: float) -> str | Closed:
        if not self._socket:
            return BROKEN
        try:
            async with asyncio.timeout(timeout):
                return await self._socket.recv(decode=True)
        except TimeoutError:
            return SILENCE
        except ConnectionClosed as closed:
            return Closed(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else BROKEN

    async def _leave(self) -> None:
        socket, self._socket = self._socket, None
        if socket:
            await socket.close()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
