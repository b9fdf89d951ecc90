"""A short run of the fault-injection harness, and its judge: it must see what it is for. `make chaos` has long runs."""

import pytest

from chaos import oracle, run
from chaos.publishers import Ledger, Publication
from chaos.witness import Journal, Witness

CHANNEL = "topic:orders"


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
    """A client that is owed everything of the topic."""
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
    """A client that was given everything once and in order is no violation."""
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
    """A hole, a duplicate, a change of places and an invention are each seen."""
    deliver(witness, *numbers)
    assert expected in kinds(ledger, witness)


def test_a_loss_that_was_told(ledger: Ledger, witness: Witness) -> None:
    """A hole is excused where the client was told of it, if more was published than is kept."""
    deliver(witness, 1)
    witness.told_lost([CHANNEL], "1000-0")
    deliver(witness, 3)
    assert kinds(ledger, witness, max_history=1) == []
    assert kinds(ledger, witness, max_history=100) == ["false alarm"]


def test_a_loss_that_was_told_elsewhere(ledger: Ledger, witness: Witness) -> None:
    """To be told of a loss excuses no other hole."""
    deliver(witness, 1, 3)
    witness.told_lost([CHANNEL], "3000-0")
    assert "missing" in kinds(ledger, witness, max_history=0)


def test_behind(ledger: Ledger, witness: Witness) -> None:
    """Who was still being given what it had missed when the run ended has lost nothing yet."""
    deliver(witness, 1)
    debt = oracle.Debt(ledger, witness)
    assert not debt.gains()
    deliver(witness, 2)
    assert debt.gains()
    assert not debt.is_settled()
    witness.is_behind = True
    assert kinds(ledger, witness) == ["behind"]
    deliver(witness, 3)
    assert debt.is_settled()
    assert kinds(ledger, witness) == []


def test_a_debt_that_is_lost(ledger: Ledger, witness: Witness) -> None:
    """Nothing is owed any more of what was told to be lost."""
    deliver(witness, 1)
    debt = oracle.Debt(ledger, witness)
    witness.told_lost([CHANNEL], "1000-0")
    assert debt.gains()
    assert debt.is_settled()


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With workers, Valkey, network and clients failing, nothing is lost in silence."""
    violations, struck = run.run(seed=3, name="mixed", seconds=6, clients=16)
    assert not violations, capsys.readouterr().out
    assert len(struck) > 8
