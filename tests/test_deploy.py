"""docs/deploy/notifier.service says what systemd, gunicorn and the settings say."""

import re
import shutil
from pathlib import Path

import pytest

from notifier.settings import ConnectionSettings
from tests.kit import processes

UNIT = Path(__file__).parent.parent / "docs/deploy/notifier.service"
GRACE, VALKEY = 8, 10  # seconds: until gunicorn kills, and for the embedded Valkey


def test_time_to_stop() -> None:
    """systemd waits until the workers have drained, gunicorn has killed and the embedded Valkey has ended."""
    [timeout] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(timeout) > ConnectionSettings.drain_timeout + GRACE + VALKEY


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd finds no fault with the unit, whose program is put somewhere else here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/notifier/.venv/bin/gunicorn", "/bin/true"))
    done = processes.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, [])
