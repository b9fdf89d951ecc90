"""Fuzz all targets, one after the other: `python -m fuzz.run [--seconds N] [NAME ...]`. Needs atheris.

Inputs on which a target fails are in `.fuzz/NAME/`. Each becomes one of `FINDINGS` in seeds.py, with which the tests
begin.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from fuzz.seeds import FINDINGS, SEEDS
from fuzz.targets import TARGETS

_ROOT = Path(__file__).parent.parent
_OPTIONS = (
    "-max_len=65536",
    "-len_control=1000",
    "-rss_limit_mb=2048",
    "-timeout=10",
    "-print_final_stats=1",
    "-verbosity=1",
)


def main() -> int:
    """Fuzz, and return 1 if a target failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TARGETS)}")
    options = parser.parse_args()
    if not importlib.util.find_spec("atheris"):
        sys.exit("Fuzzing needs atheris: run make fuzz")
    failed = [name for name in options.names or TARGETS if not _fuzz(name, options.seconds)]
    print(f"Failed: {', '.join(failed)}" if failed else "No target failed.")
    return bool(failed)


def _fuzz(name: str, seconds: int) -> bool:
    directory = _ROOT / ".fuzz" / name
    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name] + FINDINGS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "fuzz.one", name, *_OPTIONS, f"-max_total_time={seconds}"]
    log = directory / "log"
    with log.open("wb") as output:
        done = subprocess.run(
            [*command, f"-artifact_prefix={directory}/", str(corpus)],
            cwd=_ROOT,
            stdout=output,
            stderr=output,
            check=False,
        )
    runs = [line for line in log.read_text(errors="replace").splitlines() if "number_of_executed_units" in line]
    print(f"{name}: {'ok' if not done.returncode else f'FAILED, see {log}'}; {' '.join(runs)}", flush=True)
    return not done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
