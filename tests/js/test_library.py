"""The browser library: its modules pass their tests under Node, and the committed files are built from them."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notifier import __version__
from tests.kit import environment, processes
from tests.kit.chance import share

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "notifier/http/static"
PATIENCE = 900.0  # seconds: far more than a busy machine takes
BUDGETS = {"notifier.js": 7_168, "notifier-inbox.js": 12_288}  # bytes, gzipped

FILES = sorted(Path(__file__).parent.glob("*.test.js"))
# Alone, because random courses end before Node's test runner begins: see courses.js. The others start Node once.
ALONE = [path for path in FILES if "runCourses" in path.read_text()]
PROGRAMS = {path.name: [path] for path in ALONE} | {"others": [path for path in FILES if path not in ALONE]}

IS_BUILDABLE = shutil.which("node") and (ROOT / "node_modules/@swc/core").is_dir()

needs_build = pytest.mark.skipif(not IS_BUILDABLE, reason="needs node, and packages from npm")


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize("paths", PROGRAMS.values(), ids=PROGRAMS)
def test_modules(paths: list[Path]) -> None:
    """The tests of JavaScript files pass."""
    code = "".join(f"import {json.dumps(str(path))};" for path in paths)
    command = ["node", "--input-type=module", "--eval", code]
    environ = environment.basic(SHARE=f"{share(100)}")  # percent
    done = processes.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BUDGETS)
def test_size(name: str, record_property: Callable[[str, object], None]) -> None:
    """Each file fits its budget."""
    size, budget = len(gzip.compress((STATIC / name).read_bytes(), 9, mtime=0)), BUDGETS[name]
    record_property("summary", f"{name}: {size:,} bytes gzipped, {size / budget:.0%} of its {budget:,}")
    assert size <= budget


@needs_build
def test_build(tmp_path: Path) -> None:
    """The committed files are what the build makes of the modules."""
    processes.run(["node", "browser/build.js", tmp_path], cwd=ROOT, check=True, timeout=PATIENCE)
    for name in BUDGETS:
        assert (tmp_path / name).read_text() == (STATIC / name).read_text(), "run `make browser`"


@needs_build
def test_types() -> None:
    """The types allow what users may write, and nothing else that was tried."""
    done = processes.run(
        ["node_modules/.bin/tsc", "-p", "tests/js/types"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_package(tmp_path: Path) -> None:
    """The npm package has the version of the service, all modules, and its exports lead to files."""
    package = json.loads((ROOT / "browser/package.json").read_text())
    assert package["version"] == __version__
    packed = processes.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=ROOT / "browser", capture_output=True, text=True, timeout=PATIENCE
    )
    files = {file["path"] for file in _packed(packed.stdout)["files"]}
    modules = {str(path.relative_to(ROOT / "browser")) for path in (ROOT / "browser/src").rglob("*") if path.is_file()}
    assert files == modules | {"package.json", "README.md", "LICENSE", "index.d.ts", "inbox.d.ts"}
    targets = {target for export in package["exports"].values() for target in export.values()}
    assert {target.removeprefix("./") for target in targets} <= files


def _packed(text: str) -> dict[str, Any]:
    """Return what npm would pack: older versions print it in a list, newer ones by the package's name."""
    said = json.loads(text)
    packed: dict[str, Any]
    [packed] = said if isinstance(said, list) else said.values()
    return packed
