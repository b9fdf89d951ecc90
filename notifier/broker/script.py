"""The Lua scripts of `scripts/`: each is one atomic step on one channel."""

import hashlib
import importlib.resources
from typing import Any

from notifier.broker.redis_connection import pack

# Redis has no libraries here: what several scripts share comes first in each of them.
_LOG = ("log/entry",)
_INBOX = ("log/entry", "inbox/state")
_FILES = {
    "append": (*_LOG, "log/append"),
    "raise": (*_LOG, "log/raise"),
    "read": ("log/read",),
    "digest": ("log/digest",),
    "find": (*_LOG, "log/find"),
    "state": (*_INBOX, "inbox/get"),
    "list": (*_INBOX, "inbox/list"),
    "mark": (*_INBOX, "inbox/exceptions", "inbox/mark"),
    "change": (*_INBOX, "inbox/change"),
    "ack": (*_INBOX, "inbox/ack"),
    "disconnect": (*_INBOX, "inbox/disconnect"),
    "erase": (*_INBOX, "inbox/erase"),
    "revoke": ("tokens/revoke",),
    "revoked": ("tokens/revoked",),
    "spend": ("limits/spend",),
    "count": ("limits/count",),
    "hold": ("limits/hold",),
    "put_key": ("keys/put",),
    "changed_keys": ("keys/changed",),
    "used_keys": ("keys/used",),
    "audit": ("audit/append",),
    "members": ("members",),
    "claim": ("claim",),
    "forget": ("forget",),
    "beat": ("beat",),
}


class Script:
    """One script, called by its digest."""

    def __init__(self, name: str) -> None:
        folder = importlib.resources.files("notifier.broker").joinpath("scripts")
        self.text = b"\n".join(folder.joinpath(f"{file}.lua").read_bytes() for file in _FILES[name])
        self._digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def command(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> bytes:
        """Return the command that runs the script."""
        return pack("EVALSHA", self._digest, len(keys), *keys, *arguments)


def load_all() -> dict[str, Script]:
    """Return all scripts by name."""
    return {name: Script(name) for name in _FILES}
