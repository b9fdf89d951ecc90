"""The oracle of the fault-injection harness: it reports each kind of violation, and nothing else."""

import time
from typing import Any

import pytest

from chaos import oracle
from chaos.ledger import Ledger, Publication
from chaos.model import JOIN, LEAVE, MUTE, Item, Model, Operation
from chaos.witness import Journal, Witness

CHANNEL = "topic:orders"
ALL_FLAGS = {(), ("seen",), ("read",), ("seen", "read")}


@pytest.fixture
def ledger() -> Ledger:
    """Three acknowledged publications to one topic."""
    ledger = Ledger()
    for number in (1, 2, 3):
        publication = Publication(str(number), [CHANNEL], attempts=[(float(number), "201")])
        ledger.publications[publication.key] = publication
        answer = {"id": f"id-{number}", "channels": [{"channel": CHANNEL, "cursor": f"{number}000-0"}]}
        ledger.acknowledge(publication, answer)
    return ledger


@pytest.fixture
def witness() -> Witness:
    """A client that must receive everything on the topic."""
    witness = Witness("client", "alice", ["orders"], Journal())
    witness.welcomed("0-0", ["orders"])
    return witness


def deliver(witness: Witness, *numbers: int) -> None:
    for number in numbers:
        notification = {"id": f"id-{number}", "data": {"key": str(number)}}
        witness.called(CHANNEL, f"{number}000-0", notification, replay=False)


def kinds(ledger: Ledger, witness: Witness, max_history: int = 100) -> list[str]:
    return [violation.kind for violation in oracle.judge(ledger, [witness], max_history)]


def test_all_in_order(ledger: Ledger, witness: Witness) -> None:
    """Receiving everything once and in order is not a violation."""
    deliver(witness, 1, 2, 3)
    assert kinds(ledger, witness) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 3), "missing"),
        ((1, 2), "missing"),
        ((1, 2, 3, 2), "twice"),
        ((1, 3, 2), "disorder"),
        ((1, 2, 3, 4), "wrong"),
    ],
)
def test_a_broken_promise(ledger: Ledger, witness: Witness, numbers: tuple[int, ...], expected: str) -> None:
    """A gap, a duplicate, a wrong order and an invented notification are violations."""
    deliver(witness, *numbers)
    assert expected in kinds(ledger, witness)


def deliver_to_all(ledger: Ledger, witness: Witness, key: str, ms: int) -> None:
    """Deliver one more notification, which was published to everyone."""
    publication = ledger.publications[key] = Publication(key, ["all"], attempts=[(9.0, "201")])
    ledger.acknowledge(publication, {"id": key, "channels": [{"channel": "all", "cursor": f"{ms}-0"}]})
    witness.called("all", f"{ms}-0", {"id": key, "data": {"key": key}}, replay=False)


def test_far_back(ledger: Ledger, witness: Witness) -> None:
    """An entry that follows entries of other channels which are more than two seconds later is a violation."""
    deliver(witness, 1, 2)
    deliver_to_all(ledger, witness, "near", 5000)
    deliver(witness, 3)
    assert kinds(ledger, witness) == []
    witness.callbacks.pop()
    deliver_to_all(ledger, witness, "far", 5001)
    deliver(witness, 3)
    assert kinds(ledger, witness) == ["far back"]


def test_a_past_that_was_requested(ledger: Ledger, witness: Witness) -> None:
    """The past of a topic may follow later entries of other channels, and nothing else may then follow them."""
    deliver_to_all(ledger, witness, "now", 9000)
    witness.pasts.ask("orders", (2500, 0), time.monotonic())
    deliver(witness, 1, 2)
    witness.pasts.complete("orders", time.monotonic())
    deliver(witness, 3)
    assert kinds(ledger, witness) == ["far back"]
    deliver_to_all(ledger, witness, "old", 4000)
    assert kinds(ledger, witness) == ["far back", "disorder", "far back"]


def test_a_past_before_the_cursor_of_its_request(ledger: Ledger, witness: Witness) -> None:
    """What precedes the requested past by more than the overlap is a violation."""
    deliver_to_all(ledger, witness, "now", 9000)
    witness.pasts.ask("orders", (4500, 0), time.monotonic())
    deliver(witness, 1, 2, 3)
    assert kinds(ledger, witness) == ["far back", "far back"]


def test_the_order_of_a_past_that_was_requested(ledger: Ledger, witness: Witness) -> None:
    """A requested past must be in order, also for a client that has left the topic, or shares its connection."""
    witness.wanders = True
    witness.granted.add("orders")
    witness.pasts.ask("orders", (0, 0), time.monotonic())
    deliver(witness, 1, 3, 2)
    assert kinds(ledger, witness) == ["disorder"]


def test_what_follows_a_past_that_is_interrupted(ledger: Ledger, witness: Witness) -> None:
    """The past of a topic may be ahead of other channels, whose entries follow on the next connection."""
    witness.pasts.ask("orders", (0, 0), time.monotonic())
    deliver(witness, 1, 2, 3)
    deliver_to_all(ledger, witness, "resumed", 500)
    assert kinds(ledger, witness) == []


def test_a_loss_that_was_is_reported(ledger: Ledger, witness: Witness) -> None:
    """A gap is not a violation if it was reported as lost and exceeds the history."""
    deliver(witness, 1)
    witness.received_lost([CHANNEL], "1000-0")
    deliver(witness, 3)
    assert kinds(ledger, witness, max_history=1) == []
    assert kinds(ledger, witness, max_history=100) == ["false alarm"]


def test_a_loss_that_was_told_elsewhere(ledger: Ledger, witness: Witness) -> None:
    """A reported loss excuses no gap at another place."""
    deliver(witness, 1, 3)
    witness.received_lost([CHANNEL], "3000-0")
    assert "missing" in kinds(ledger, witness, max_history=0)


def test_a_loss_within_the_overlap(ledger: Ledger, witness: Witness) -> None:
    """Entries within two seconds before a client's cursor may be reported as lost, although the client has them."""
    deliver(witness, 1, 2, 3)
    witness.received_lost([CHANNEL], "3000-0")
    assert kinds(ledger, witness, max_history=1) == []
    assert kinds(ledger, witness, max_history=2) == ["false alarm"]


@pytest.fixture
def model(ledger: Ledger) -> Model:
    """The inbox of a user who became a member before the three publications."""
    for publication in ledger.publications.values():
        publication.for_inbox, publication.acknowledged = True, publication.attempts[0][0] + 0.5
    model = Model("alice", ledger)
    carry_out(model, operation(JOIN, 0.0, topic="orders"))
    return model


def carry_out(model: Model, operation: Operation) -> None:
    model.ask(operation, operation.began)
    model.note(operation)


def operation(action: str, began: float, **what: Any) -> Operation:
    """Return an operation that took no time."""
    return Operation(action, attempts=[(began, "done")], began_ms=int(1000 * began), acknowledged=began, **what)


def listed(number: int, *flags: str) -> Item:
    shown = {name: name in flags for name in ("seen", "read", "archived")}
    return Item((1000 * number, 0), CHANNEL, str(number), shown)


def faults(model: Model, *items: Item) -> list[str]:
    return [kind for kind, _, _ in model.faults(items)]


def test_an_inbox_as_it_should_be(model: Model) -> None:
    """Operations apply to the items of their time, by id or up to a cursor, and the last one counts."""
    carry_out(model, operation("read", 2.7, up_to=(9000, 0)))
    carry_out(model, operation("archive", 2.8, ids=("id-1",)))
    carry_out(model, operation("unread", 2.9, ids=("id-2",)))
    assert faults(model, listed(3), listed(2, "seen"), listed(1, "seen", "read", "archived")) == []


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((listed(3, "seen", "read"), listed(2, "seen", "read"), listed(1, "seen", "read")), ["wrong flag"] * 2),
        ((listed(3), listed(2), listed(1, "seen", "read")), ["wrong flag"] * 2),
        ((listed(3), listed(2, "seen", "read")), ["not listed"]),
        ((listed(3), listed(2, "seen", "read"), listed(1, "seen", "read"), listed(4)), ["not gone"]),
    ],
)
def test_an_inbox_that_is_wrong(model: Model, items: tuple[Item, ...], expected: list[str]) -> None:
    """Wrong flags, missing items and invented items are violations."""
    carry_out(model, operation("read", 2.7, up_to=(9000, 0)))
    assert faults(model, *items) == expected


def test_what_has_left_an_inbox(model: Model, ledger: Ledger) -> None:
    """Recalled items, and those of a topic before its user joined again, must be gone."""
    ledger.publications["3"].recalled = 4.0
    assert faults(model, listed(3), listed(2), listed(1)) == ["not gone"]
    carry_out(model, operation(LEAVE, 1.6, topic="orders"))
    carry_out(model, operation(JOIN, 1.7, topic="orders"))
    assert faults(model, listed(2)) == []
    assert faults(model, listed(2), listed(1)) == ["not gone"]


def test_a_late_attempt(model: Model) -> None:
    """If an unanswered attempt may take effect after the next operation, both results are right."""
    carry_out(model, operation("read", 2.7, ids=("id-1",), late_until=5.0))
    carry_out(model, operation("unread", 2.8, ids=("id-1",)))
    rest = listed(3), listed(2)
    assert faults(model, *rest, listed(1, "seen")) == faults(model, *rest, listed(1, "seen", "read")) == []


@pytest.mark.parametrize("name", ["type:order.paid", "topic:orders"])
@pytest.mark.parametrize(
    ("muted", "lifted", "expected"),
    [
        (1.7, 2.7, {("seen", "read")}),
        (1.7, 2.2, ALL_FLAGS),
        (2.2, 2.7, ALL_FLAGS),
        (1.7, 1.9, {()}),
        (2.6, 2.7, {()}),
    ],
)
def test_an_item_that_was_muted(
    model: Model, ledger: Ledger, muted: float, lifted: float, expected: set[tuple[str, ...]], name: str
) -> None:
    """An item that was published during a mute, from 2.0 to 2.5, is seen and read; one outside it is neither."""
    ledger.publications["2"].type = "order.paid"
    carry_out(model, operation(MUTE, muted, mutes=frozenset([name])))
    carry_out(model, operation(MUTE, lifted))
    assert {flags for flags in ALL_FLAGS if not faults(model, listed(3), listed(2, *flags), listed(1))} == expected


def test_a_muted_item_that_is_marked_as_unread(model: Model, ledger: Ledger) -> None:
    """Whether a muted item can be unread depends on its channel, so both are right."""
    carry_out(model, operation(MUTE, 1.7, mutes=frozenset(["topic:orders"])))
    carry_out(model, operation(MUTE, 2.7))
    carry_out(model, operation("unread", 2.8, ids=("id-2",)))
    for flags in (("seen",), ("seen", "read")):
        assert faults(model, listed(3), listed(2, *flags), listed(1)) == []
    assert faults(model, listed(3), listed(2), listed(1)) == ["wrong flag"]


def test_a_copy_that_is_not_muted(model: Model, ledger: Ledger) -> None:
    """A muted topic does not mute what was also published elsewhere, so both are right."""
    ledger.publications["2"].channels.append("all")
    carry_out(model, operation(MUTE, 1.7, mutes=frozenset(["topic:orders"])))
    for flags in ((), ("seen", "read")):
        assert faults(model, listed(3, "seen", "read"), listed(2, *flags), listed(1)) == []


def test_behind(ledger: Ledger, witness: Witness) -> None:
    """A client whose replay was not finished when the run ended is behind, and has lost nothing."""
    deliver(witness, 1)
    outstanding = oracle.Outstanding(ledger, witness)
    assert not outstanding.gains()
    deliver(witness, 2)
    assert outstanding.gains()
    assert not outstanding.is_settled()
    witness.is_behind = True
    assert kinds(ledger, witness) == ["behind"]
    deliver(witness, 3)
    assert outstanding.is_settled()
    assert kinds(ledger, witness) == []


def test_outstanding_entries_that_are_lost(ledger: Ledger, witness: Witness) -> None:
    """After a reported loss, nothing before it is missing."""
    deliver(witness, 1)
    outstanding = oracle.Outstanding(ledger, witness)
    witness.received_lost([CHANNEL], "1000-0")
    assert outstanding.gains()
    assert outstanding.is_settled()


def test_what_a_crash_has_lost(ledger: Ledger, witness: Witness) -> None:
    """A crash explains reported losses of what was written while the disk was slow, and a copy, but no silent gap."""
    ledger.crashes.append((1.5, 2.2))
    witness.received_lost([CHANNEL], "1000-0")  # what was stored before follows it
    deliver(witness, 1, 3)
    assert kinds(ledger, witness) == []
    witness.losses[0] = witness.losses[0]._replace(at=2.1)
    assert kinds(ledger, witness) == ["missing"]
    witness.losses[0] = witness.losses[0]._replace(at=2.3, channels=["all"])
    assert "missing" in kinds(ledger, witness)
    witness.losses[0] = witness.losses[0]._replace(at=2.3, channels=[CHANNEL])
    ledger.crashes[:] = [(0.1, 0.5)]
    assert kinds(ledger, witness) == ["missing", "false alarm"]


def test_a_batch_that_is_repeated_after_a_crash(ledger: Ledger, witness: Witness) -> None:
    """A crash that loses the key of a request may give its acknowledged lines other cursors; nothing else may."""
    publication = ledger.publications["2"]
    answer = {"id": "another", "channels": [{"channel": CHANNEL, "cursor": "2500-0"}]}
    ledger.acknowledge(publication, answer)
    assert ledger.complaints == ["2 was acknowledged twice, differently"]
    ledger.crashes.append((1.9, publication.attempts[0][0] + 0.1))
    publication.id = "id-2"
    ledger.acknowledge(publication, answer)
    assert (len(ledger.complaints), ledger.is_torn(publication), publication.id) == (1, True, "id-2")


def test_what_was_published_again_after_a_crash(ledger: Ledger, witness: Witness) -> None:
    """A publication whose first attempt was lost may be received twice; others may not."""
    deliver(witness, 1, 2, 3)
    witness.called(CHANNEL, "2500-0", {"id": "another", "data": {"key": "2"}}, replay=False)
    assert "twice" in kinds(ledger, witness)
    ledger.crashes.append((1.5, ledger.publications["2"].acknowledged - 0.1))
    assert "twice" not in kinds(ledger, witness)
