"""The states of transports and connections, as two tables.

Everything about transitions is in this file: transports and connections change their state by `next_state` only. A
trigger without an entry in the row of a state is ignored: the state stays, and its caller does nothing.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar


class TransportState(Enum):
    """The states of a transport. Each determines how written bytes are handled."""

    OPEN = "open"  # they go to the kernel at once
    BLOCKED = "blocked"  # they wait behind others, up to the limit: the peer does not read fast enough
    FINISHING = "finishing"  # they are dropped, but what waits still goes out
    HALF_CLOSED = "half closed"  # they are dropped: the writing side has ended, and the peer is to close
    BROKEN = "broken"  # they are dropped: the peer is gone, and the owner is about to be notified
    CLOSED = "closed"  # they are dropped: the descriptor is closed


class TransportTrigger(Enum):
    """The events that change the state of a transport."""

    BLOCK = "the kernel does not take everything"
    DRAIN = "the backlog is written"
    FINISH = "finish()"
    BREAK = "a write fails"
    ABORT = "abort(), or the peer is gone"


class ConnectionState(Enum):
    """How far the closing handshake of a connection is."""

    OPEN = "open"  # neither side has begun to close
    CLOSING = "closing"  # the last frame is sent; the client has `CLOSING_TIME` to close
    ENDED = "ended"  # the transport is closed


class ConnectionTrigger(Enum):
    """The events that change the state of a connection."""

    CLOSE = "close(), or a close frame of the client"
    END = "the client is gone"


TRANSPORT: Mapping[TransportState, Mapping[TransportTrigger, TransportState]] = {
    TransportState.OPEN: {
        TransportTrigger.BLOCK: TransportState.BLOCKED,
        TransportTrigger.FINISH: TransportState.HALF_CLOSED,
        TransportTrigger.BREAK: TransportState.BROKEN,
        TransportTrigger.ABORT: TransportState.CLOSED,
    },
    TransportState.BLOCKED: {
        TransportTrigger.DRAIN: TransportState.OPEN,
        TransportTrigger.FINISH: TransportState.FINISHING,
        TransportTrigger.ABORT: TransportState.CLOSED,
    },
    TransportState.FINISHING: {
        TransportTrigger.DRAIN: TransportState.HALF_CLOSED,
        TransportTrigger.ABORT: TransportState.CLOSED,
    },
    TransportState.HALF_CLOSED: {TransportTrigger.ABORT: TransportState.CLOSED},
    TransportState.BROKEN: {TransportTrigger.ABORT: TransportState.CLOSED},
    TransportState.CLOSED: {},
}

CONNECTION: Mapping[ConnectionState, Mapping[ConnectionTrigger, ConnectionState]] = {
    ConnectionState.OPEN: {
        ConnectionTrigger.CLOSE: ConnectionState.CLOSING,
        ConnectionTrigger.END: ConnectionState.ENDED,
    },
    ConnectionState.CLOSING: {ConnectionTrigger.END: ConnectionState.ENDED},
    ConnectionState.ENDED: {},
}

State = TypeVar("State", bound=Enum)
Trigger = TypeVar("Trigger", bound=Enum)


def next_state(table: Mapping[State, Mapping[Trigger, State]], state: State, trigger: Trigger) -> State:
    """Return the state after a trigger; the same one if the trigger is ignored."""
    return table[state].get(trigger, state)
