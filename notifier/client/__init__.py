"""The Python client: publishes for a backend; listens, and reads the inbox, for a user.

    from notifier.client import NotifierClient

    with NotifierClient("https://notify.example.com", api_key="...") as notifier:
        notifier.publish(to={"users": ["alice"]}, title="Hello")

`AsyncNotifierClient` has the same methods for asyncio. docs/client.md describes both.
"""

from notifier.client.aio.client import AsyncNotifierClient
from notifier.client.aio.inbox import AsyncInbox
from notifier.client.aio.stream import AsyncStream
from notifier.client.answer import Accepted, Channel, Published
from notifier.client.backend_calls import MembersChanged
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
from notifier.client.events import Event, Lost, Position, Received, Removed, State
from notifier.client.inbox import Change, Counts, Item, Marked, Mutes, Page
from notifier.client.keys import AuditEntry, Key, NewKey
from notifier.client.notification import Notification, To
from notifier.client.receipts import Explanation, Receipt, SharedReceipt, UserReceipt
from notifier.client.sync.client import NotifierClient
from notifier.client.sync.inbox import Inbox
from notifier.client.sync.stream import Stream

__all__ = [
    "Accepted",
    "AsyncInbox",
    "AsyncNotifierClient",
    "AsyncStream",
    "AuditEntry",
    "Change",
    "Channel",
    "ConfigurationError",
    "Counts",
    "Event",
    "Explanation",
    "Inbox",
    "Item",
    "Key",
    "Lost",
    "Marked",
    "MembersChanged",
    "Mutes",
    "NewKey",
    "NotNotifier",
    "Notification",
    "NotifierClient",
    "NotifierError",
    "Page",
    "Position",
    "ProblemError",
    "Published",
    "Receipt",
    "Received",
    "Removed",
    "SharedReceipt",
    "State",
    "Stream",
    "StreamClosed",
    "To",
    "TooNew",
    "TooOld",
    "Unreachable",
    "UserReceipt",
    "VersionError",
]
