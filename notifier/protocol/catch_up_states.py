"""The states of a connection that catches up, and what leads from one to another.

    waiting     The log must be read. Live entries are put aside.
    behind      The log must be read. Live entries are dropped: the log has them.
    reading     The log is being read. Live entries are put aside.
    overrun     The log is being read. Live entries are dropped, so it must be read once more.
    sending     A part of what was missed is being sent.
    finishing   All that was missed is being sent.
    live        Nothing is missing. The connection forgets the `CatchUp`.

`TRANSITIONS` is this table. An event that it does not list for a state raises `IllegalTransition` and changes nothing.

    state      read     change   overflow  fall_behind  retry    send_part  send_rest  pause    go_live
    waiting    reading  waiting  behind    behind       -        -          -          -        -
    behind     reading  behind   -         behind       -        -          -          -        -
    reading    reading  waiting  overrun   overrun      waiting  sending    finishing  -        -
    overrun    reading  behind   -         overrun      behind   sending    -          -        -
    sending    -        -        -         behind       -        -          -          waiting  -
    finishing  -        -        -         behind       -        -          -          waiting  live
    live       -        -        -         -            -        -          -          -        -
"""

from enum import Enum


class State(Enum):
    """The states of a connection that catches up. The docstring of this module explains them."""

    WAITING = "waiting"
    BEHIND = "behind"
    READING = "reading"
    OVERRUN = "overrun"
    SENDING = "sending"
    FINISHING = "finishing"
    LIVE = "live"


class Event(Enum):
    """The events that change the state."""

    READ = "read"  # a read of the log begins; one that failed may begin again
    CHANGE = "change"  # a channel is added, removed or resumed: a read that is under way is void
    OVERFLOW = "overflow"  # more live entries arrive than may be put aside
    FALL_BEHIND = "fall_behind"  # live entries cannot be sent, or may have been missed
    RETRY = "retry"  # a read does not reach the positions
    SEND_PART = "send_part"  # the log may have more after what was read
    SEND_REST = "send_rest"  # the end of the log is reached
    PAUSE = "pause"  # everything that was to be sent has been sent, and the log is read again
    GO_LIVE = "go_live"  # everything that was to be sent has been sent


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.WAITING: {
        Event.READ: State.READING,
        Event.CHANGE: State.WAITING,
        Event.OVERFLOW: State.BEHIND,
        Event.FALL_BEHIND: State.BEHIND,
    },
    State.BEHIND: {
        Event.READ: State.READING,
        Event.CHANGE: State.BEHIND,
        Event.FALL_BEHIND: State.BEHIND,
    },
    State.READING: {
        Event.READ: State.READING,
        Event.CHANGE: State.WAITING,
        Event.OVERFLOW: State.OVERRUN,
        Event.FALL_BEHIND: State.OVERRUN,
        Event.RETRY: State.WAITING,
        Event.SEND_PART: State.SENDING,
        Event.SEND_REST: State.FINISHING,
    },
    State.OVERRUN: {
        Event.READ: State.READING,
        Event.CHANGE: State.BEHIND,
        Event.FALL_BEHIND: State.OVERRUN,
        Event.RETRY: State.BEHIND,
        Event.SEND_PART: State.SENDING,
    },
    State.SENDING: {
        Event.FALL_BEHIND: State.BEHIND,
        Event.PAUSE: State.WAITING,
    },
    State.FINISHING: {
        Event.FALL_BEHIND: State.BEHIND,
        Event.PAUSE: State.WAITING,
        Event.GO_LIVE: State.LIVE,
    },
    State.LIVE: {},
}


class IllegalTransition(RuntimeError):
    """An event came in a state in which it cannot happen."""


def follow(state: State, event: Event) -> State:
    """Return the state after an event.

    Raises:
        IllegalTransition: the event cannot happen in that state.
    """
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise IllegalTransition(f"{event.value} while {state.value}")
    return following


def table() -> str:
    """Return the transitions as text, as in the docstring of this module."""
    rows = [["state", *(event.value for event in Event)]]
    for state, transitions in TRANSITIONS.items():
        cells = (transitions.get(event) for event in Event)
        rows.append([state.value, *(cell.value if cell else "-" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
