"""Short runs of the fault-injection harness. `make chaos` has long ones."""

import pytest

from chaos import run


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With failing workers, Valkey, network and clients, every loss is reported."""
    violations, struck = run.run(seed=3, name="mixed", seconds=6, clients=16)
    assert not violations, capsys.readouterr().out
    assert len(struck) > 8


def test_a_short_run_with_inboxes(capsys: pytest.CaptureFixture[str]) -> None:
    """With the same failures, every inbox has the result of its operations, on all its clients."""
    violations, _ = run.run(seed=1, name="inbox", seconds=2, clients=12)
    assert not violations, capsys.readouterr().out
