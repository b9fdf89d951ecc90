"""Short runs of the fault-injection harness. `make chaos` has long ones."""

import pytest

from chaos import run


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With workers, Valkey, network and clients failing, nothing is lost in silence."""
    violations, struck = run.run(seed=3, name="mixed", seconds=6, clients=16)
    assert not violations, capsys.readouterr().out
    assert len(struck) > 8


def test_a_short_run_with_inboxes(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever fails, every inbox is what was done with it, and all of its clients know."""
    violations, _ = run.run(seed=1, name="inbox", seconds=2, clients=12)
    assert not violations, capsys.readouterr().out
