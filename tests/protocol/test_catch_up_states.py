"""The states of catching up: the table, what it promises, and that the code obeys it."""

import textwrap

import pytest

from notifier.protocol import catch_up_states
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.catch_up_states import TRANSITIONS, Event, IllegalTransition, State, follow, table
from notifier.protocol.cursor import BEGINNING
from notifier.protocol.entry import NOTIFICATION, Entry, Page
from tests.kit.cases import rows

LIVE_ENTRY = Entry(b"2-0", b"1-0", NOTIFICATION, b"a long body")
READ_ENTRY = Entry(b"1-0", b"", NOTIFICATION, b"{}")
VERBS = {
    Event.READ: lambda catch_up: catch_up.read(lambda _: BEGINNING),
    Event.CHANGE: lambda catch_up: catch_up.add("topic:new"),
    Event.OVERFLOW: lambda catch_up: catch_up.receive("all", [LIVE_ENTRY]),
    Event.FALL_BEHIND: lambda catch_up: catch_up.fall_behind(),
    Event.RETRY: lambda catch_up: catch_up.retry(),
    Event.SEND_PART: lambda catch_up: catch_up.take({"all": Page([READ_ENTRY], False, BEGINNING)}),
    Event.SEND_REST: lambda catch_up: catch_up.take({}),
    Event.PAUSE: lambda catch_up: catch_up.pause(),
    Event.GO_LIVE: lambda catch_up: catch_up.go_live(),
}
PATHS = {
    State.WAITING: [],
    State.BEHIND: [Event.FALL_BEHIND],
    State.READING: [Event.READ],
    State.OVERRUN: [Event.READ, Event.OVERFLOW],
    State.SENDING: [Event.READ, Event.SEND_PART],
    State.FINISHING: [Event.READ, Event.SEND_REST],
    State.LIVE: [Event.READ, Event.SEND_REST, Event.GO_LIVE],
}


def catch_up_in(state: State) -> CatchUp:
    """Return a catch-up that has come to a state; no live entry fits into it."""
    catch_up = CatchUp({"all": BEGINNING}, max_aside=5)
    for event in PATHS[state]:
        VERBS[event](catch_up)
    assert catch_up.state is state
    return catch_up


def contents(catch_up: CatchUp) -> dict[str, object]:
    return {name: getattr(catch_up, name) for name in CatchUp.__slots__} | {"positions": catch_up.positions}


def test_the_table_is_the_documentation() -> None:
    """The docstring of the module shows the transitions as they are."""
    assert textwrap.indent(table(), "    ") in (catch_up_states.__doc__ or "")
    assert all(f"    {state.value} " in (catch_up_states.__doc__ or "") for state in State)


@rows("state", State)
@rows("event", Event)
def test_every_transition(state: State, event: Event) -> None:
    """Each verb leads to the state in the table; a verb that is not in the table raises, and changes nothing."""
    catch_up = catch_up_in(state)
    before = contents(catch_up)
    expected = TRANSITIONS[state].get(event)
    if event is Event.SEND_REST and state is State.OVERRUN:
        expected = State.SENDING  # for any pages: entries were dropped, so this is never the rest
    if event is Event.OVERFLOW and state in (State.BEHIND, State.OVERRUN):
        expected = state  # live entries are dropped already
    if expected is None:
        with pytest.raises(IllegalTransition):
            VERBS[event](catch_up)
        assert contents(catch_up) == before
    else:
        VERBS[event](catch_up)
        assert catch_up.state is expected


def test_an_illegal_transition_names_both() -> None:
    with pytest.raises(IllegalTransition, match="go_live while behind"):
        follow(State.BEHIND, Event.GO_LIVE)


def test_nothing_goes_live_that_dropped_entries() -> None:
    """Between the loss of a live entry and going live there always is a read that begins later."""
    droppers = {state for state, row in TRANSITIONS.items() for after in row.values() if after in DROPPING}
    assert droppers
    for state in DROPPING:
        reached, todo = set(), {state}
        while todo:
            reached |= todo
            todo = {
                after for each in todo for event, after in TRANSITIONS[each].items() if event is not Event.READ
            } - reached
        assert State.LIVE not in reached
        assert State.FINISHING not in reached


DROPPING = {State.BEHIND, State.OVERRUN}


def test_every_state_can_end() -> None:
    """From every state a connection can go live."""
    ends = {State.LIVE}
    for _ in State:
        ends |= {state for state, row in TRANSITIONS.items() if ends & set(row.values())}
    assert ends == set(State)
