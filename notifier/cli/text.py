"""The output of commands: text for people, JSON for programs."""

import json
from datetime import datetime
from typing import Any

from notifier.cli.terminal import printable
from notifier.client import Counts, State

_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


def time_text(time: datetime | None) -> str | None:
    """Return a time in the format of the service."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None


def json_line(document: Any) -> str:
    """Return a document on one line, with escapes for the control characters that JSON need not escape (C1)."""
    return json.dumps(document, ensure_ascii=False).translate(_ESCAPES)


def notification_line(channel: str, notification: dict[str, Any]) -> str:
    """Return a notification as a line for people."""
    texts = [notification.get(name, "") for name in ("title", "type", "body")]
    text = next(filter(None, texts), "") or json_line(notification.get("data"))
    return printable(f"{notification['created_at']}  {channel}  {notification['severity']}  {text}")


def counts_line(counts: Counts) -> str:
    """Return the counts of an inbox as a line for people."""
    return f"{counts.unread} unread, {counts.unseen} unseen"


def counts_document(counts: Counts) -> dict[str, Any]:
    """Return the counts of an inbox for programs."""
    return counts._asdict() | {"expires_at": time_text(counts.expires_at)}


def state_document(state: State) -> dict[str, Any]:
    """Return a change of an inbox for programs."""
    changes = [without_nothing(change._asdict() | {"ids": change.ids or None}) for change in state.changes]
    topics = {} if state.topics is None else {"topics": state.topics}
    return {"type": "state", **counts_document(state.counts), "changes": changes, **topics, "reload": state.reload}


def without_nothing(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the fields that are None."""
    return {name: value for name, value in document.items() if value is not None}
