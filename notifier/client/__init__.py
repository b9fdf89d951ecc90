"""The Python client: publish from a backend, and listen as a user.

    from notifier.client import NotifierClient

    with NotifierClient("https://notify.example.com", api_key="...") as notifier:
        notifier.publish(to={"users": ["alice"]}, title="Hello")

`AsyncNotifierClient` has the same methods for asyncio. docs/client.md describes both.
"""

from notifier.client.aio import AsyncNotifierClient, AsyncStream
from notifier.client.answer import Accepted, Channel, Published
from notifier.client.errors import (
    ConfigurationError,
    NotifierError,
    NotNotifier,
    ProblemError,
    StreamClosed,
    TooNew,
    TooOld,
    Unreachable,
    VersionError,
)
from notifier.client.events import Event, Lost, Position, Received, Removed
from notifier.client.notification import Notification, To
from notifier.client.sync import NotifierClient, Stream

__all__ = [
    "Accepted",
    "AsyncNotifierClient",
    "AsyncStream",
    "Channel",
    "ConfigurationError",
    "Event",
    "Lost",
    "NotNotifier",
    "Notification",
    "NotifierClient",
    "NotifierError",
    "Position",
    "ProblemError",
    "Published",
    "Received",
    "Removed",
    "Stream",
    "StreamClosed",
    "To",
    "TooNew",
    "TooOld",
    "Unreachable",
    "VersionError",
]
