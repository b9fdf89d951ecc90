"""`make quick` runs the tests outside tests/e2e: they start no service and no browser."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
_STARTS = re.compile(
    r"^(?:from tests.kit.\w+ import .*\b(?:Service|Chromium)\b"
    r"|\s*(?:async )?def \w+\(.*\b(?:service: Service|browser: Browser|page: Page)\b)",
    re.M,
)


def test_starts_little() -> None:
    """Only modules in tests/e2e import the helpers that start a service or Chromium, or use their fixtures."""
    quick = [path for path in TESTS.rglob("test_*.py") if TESTS / "e2e" not in path.parents]
    found = [(path.name, line[0]) for path in quick for line in _STARTS.finditer(path.read_text())]
    assert not found
