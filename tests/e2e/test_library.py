"""The browser library as it is handed out: one committed file, made from its modules, within its budget."""

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notifier import __version__

ROOT = Path(__file__).parent.parent.parent
LIBRARY = ROOT / "notifier/static/notifier.js"
BUDGET = 5_120  # bytes, gzipped

IS_BUILDABLE = shutil.which("node") and (ROOT / "node_modules/@swc/core").is_dir()

needs_build = pytest.mark.skipif(not IS_BUILDABLE, reason="needs node, and packages from npm")


def test_size(record_property: Callable[[str, object], None]) -> None:
    """The library fits its budget."""
    size = len(gzip.compress(LIBRARY.read_bytes(), 9, mtime=0))
    record_property("summary", f"notifier.js: {size:,} bytes gzipped, {size / BUDGET:.0%} of its {BUDGET:,}")
    assert size <= BUDGET


@needs_build
def test_build(tmp_path: Path) -> None:
    """The committed file is what the build makes of the modules."""
    made = tmp_path / "notifier.js"
    subprocess.run(["node", "browser/build.js", made], cwd=ROOT, check=True, timeout=120)
    assert made.read_text() == LIBRARY.read_text(), "run `make browser`"


@needs_build
def test_types() -> None:
    """The types allow what users may write, and nothing else that was tried."""
    done = subprocess.run(
        ["node_modules/.bin/tsc", "-p", "tests/js/types"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_package(tmp_path: Path) -> None:
    """The npm package has the version of the service, all modules, and its exports lead to files."""
    package = json.loads((ROOT / "browser/package.json").read_text())
    assert package["version"] == __version__
    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=ROOT / "browser", capture_output=True, text=True, timeout=120
    )
    files = {file["path"] for file in _packed(packed.stdout)["files"]}
    modules = {f"src/{path.name}" for path in (ROOT / "browser/src").iterdir()}
    assert files == modules | {"package.json", "README.md", "index.d.ts"}
    assert {target.removeprefix("./") for target in package["exports"]["."].values()} <= files


def _packed(text: str) -> dict[str, Any]:
    """Return what npm would pack: older versions say it in a list, newer ones by the package's name."""
    said = json.loads(text)
    packed: dict[str, Any]
    [packed] = said if isinstance(said, list) else said.values()
    return packed
