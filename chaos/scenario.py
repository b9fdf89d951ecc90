"""A scenario: the faults, settings and load of a run."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Fault = Callable[[Any, random.Random], Awaitable[None]]  # called with the arena


@dataclass(frozen=True)
class Scenario:
    """The faults of a run in concurrent lanes, the settings that differ, and the load.

    `names` is the number of users, and twice that of topics. A publisher pauses for `pause` seconds on average. With
    `follow_up`, each channel gets a last notification of its own. If `bounded`, clients may receive `lost` frames.
    With `inbox`, most notifications are items of inboxes, and every user acts on them. A share of these actions,
    `changes`, changes memberships or mutes; a share of these changes, `provoked`, has publications just before and just
    after it. With `tabs`, all browsers have several tabs that share a connection. `appendfsync` is how Valkey flushes
    its file.
    """

    lanes: tuple[tuple[Fault, ...], ...]
    settings: dict[str, object] = field(default_factory=dict)
    seconds: float = 20.0
    names: int = 16
    pause: float = 0.1
    follow_up: bool = False
    bounded: bool = False
    inbox: bool = False
    changes: float = 0.12
    provoked: float = 0.3
    tabs: bool = False
    # With `no`, a reply is sent after its write has gone to the kernel, so a kill loses nothing.
    appendfsync: str = "no"
