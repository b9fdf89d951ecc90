"""Streams of recording clients: they yield the events that a test has put there, and end after the last one."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Self

from notifier.client import Counts, Event, Position


class RecordedStream(Iterator[Event]):
    """Replaces a `Stream`."""

    position: Position | None = None
    counts: Counts | None = None

    def __init__(self, incoming: deque[Event]) -> None:
        self._incoming = incoming

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Event:
        if not self._incoming:
            raise StopIteration
        return self._incoming.popleft()

    def close(self) -> None:
        """Do nothing."""


class AsyncRecordedStream(AsyncIterator[Event]):
    """Replaces an `AsyncStream`."""

    position: Position | None = None
    counts: Counts | None = None

    def __init__(self, incoming: deque[Event]) -> None:
        self._incoming = incoming

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __anext__(self) -> Event:
        if not self._incoming:
            raise StopAsyncIteration
        return self._incoming.popleft()

    async def close(self) -> None:
        """Do nothing."""
