"""The tables of states: their transitions, and that nothing else changes a state."""

import itertools
from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from notifier.connections.states import (
    CONNECTION,
    TRANSPORT,
    ConnectionState,
    ConnectionTrigger,
    TransportState,
    TransportTrigger,
    next_state,
)

Table = Mapping[Any, Mapping[Any, Enum]]

PRINTED_TRANSPORT = """
open
    the kernel does not take everything: blocked
    finish(): half closed
    a write fails: broken
    abort(), or the peer is gone: closed
blocked
    the backlog is written: open
    finish(): finishing
    abort(), or the peer is gone: closed
finishing
    the backlog is written: half closed
    abort(), or the peer is gone: closed
half closed
    abort(), or the peer is gone: closed
broken
    abort(), or the peer is gone: closed
closed
"""
PRINTED_CONNECTION = """
open
    close(), or a close frame of the client: closing
    the client is gone: ended
closing
    the client is gone: ended
ended
"""


def printed(table: Table) -> str:
    """Return a table as text: each state with its triggers, and the state that follows."""
    lines = []
    for state, row in table.items():
        lines += [state.value, *(f"    {trigger.value}: {target.value}" for trigger, target in row.items())]
    return "\n".join(["", *lines, ""])


def test_transport() -> None:
    assert printed(TRANSPORT) == PRINTED_TRANSPORT


def test_connection() -> None:
    assert printed(CONNECTION) == PRINTED_CONNECTION


TABLES = [(TRANSPORT, TransportState, TransportTrigger), (CONNECTION, ConnectionState, ConnectionTrigger)]


@pytest.mark.parametrize("table, states, triggers", TABLES)
def test_every_state_has_a_row(table: Table, states: type[Enum], triggers: type[Enum]) -> None:
    assert set(table) == set(states)
    assert {trigger for row in table.values() for trigger in row} == set(triggers)


@pytest.mark.parametrize("table, states, triggers", TABLES)
def test_other_triggers_are_ignored(table: Table, states: type[Enum], triggers: type[Enum]) -> None:
    """Where the table has no entry, the state stays as it is."""
    for state, trigger in itertools.product(states, triggers):
        if trigger not in table[state]:
            assert next_state(table, state, trigger) is state


@pytest.mark.parametrize("table, states, triggers", TABLES)
def test_a_trigger_that_counts_changes_the_state(table: Table, states: type[Enum], triggers: type[Enum]) -> None:
    """No entry of a table leads back to its own state: callers see from the state whether a trigger counted."""
    assert not [state for state, row in table.items() if state in row.values()]


@pytest.mark.parametrize("table, last", [(TRANSPORT, TransportState.CLOSED), (CONNECTION, ConnectionState.ENDED)])
def test_every_state_leads_to_the_last(table: Table, last: Enum) -> None:
    """From each state a single trigger leads to the last one, which nothing leaves."""
    assert all(last in row.values() for state, row in table.items() if state is not last)
    assert not table[last]
