"""Inject faults, and check that no notification is lost silently.

Usage: `python -m chaos.run [--seeds 1-28] [--seconds N] [--scenario NAME] [--clients N]`. Each seed is one run: real
clients and publishers, a real service and a real Valkey, and faults chosen by the seed. Exit code 1 means that a
guarantee was broken: the output has a short account of it, and `--seeds` with the seed repeats the same faults.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chaos import browsers, entitlement, story
from chaos.arena import Arena
from chaos.oracle import Violation
from chaos.scenarios import SCENARIOS


def main() -> int:
    """Run the requested seeds and return the exit code."""
    options = _arguments()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    if browsers.missing():
        print(f"No client runs the browser library: {browsers.missing()} is missing.")
    broken: dict[str, Counter[str]] = {}
    struck: Counter[str] = Counter()
    for seed in options.seeds:
        name = options.scenario or _scenario_of(seed)
        violations, faults = run(seed, name, options.seconds, options.clients, options.keep)
        struck += faults
        if violations:
            broken[f"{name}, seed {seed}"] = Counter(violation.kind for violation in violations)
    print(f"\n{len(options.seeds)} runs, {len(broken)} with violations.")
    for label, kinds in broken.items():
        print(f"  {label}: {_counts(kinds)}")
    print(_table(struck))
    return 1 if broken else 0


def run(
    seed: int, name: str, seconds: float | None = None, clients: int = 36, keep: Path | None = None
) -> tuple[list[Violation], Counter[str]]:
    """Run one seed and print its result. Return the violations, and how often each fault was injected."""
    began = time.monotonic()
    scenario = SCENARIOS[name]
    arena = Arena(scenario, seed, seconds or scenario.seconds, clients)
    violations = asyncio.run(_run(arena))
    everybody = arena.crowd.everybody
    figures = {
        "acknowledged": len(arena.ledger.acknowledged()),
        "deliveries": sum(len(each.callbacks) for each in everybody),
        "replayed": sum(each.replayed for each in everybody),
        "reconnects": sum(max(each.connections - 1, 0) for each in everybody),
        "inbox actions": sum(len(owner.model.operations) for owner in arena.crowd.owners),
        "changes of memberships and mutes": sum(owner.model.changes for owner in arena.crowd.owners),
        "bytes lost by killing Valkey": arena.lost_bytes,
        "losses reported": sum(len(each.losses) for each in everybody),
        "early": sum(entitlement.is_early(each, callback) for each in everybody for callback in each.callbacks),
        "tracebacks logged": arena.tracebacks,
    }
    verdict = f"BROKEN: {_counts(Counter(each.kind for each in violations))}" if violations else "ok"
    said = ", ".join(f"{count:,} {what}" for what, count in figures.items() if count)
    print(
        f"seed {seed} {name}: {verdict}; {said}; {time.monotonic() - began:.0f} s; {_counts(arena.struck)}", flush=True
    )
    for violation in _first_of_each_kind(violations):
        print(story.describe(violation, arena.journal), flush=True)
    if keep and (violations or arena.tracebacks):
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{name}-{seed}.log").write_text(arena.log)
        lines = (f"{each.at - arena.journal.start:8.3f}  {each.who:20} {each.what}" for each in arena.journal.moments)
        (keep / f"{name}-{seed}.journal").write_text("\n".join(lines))
    return violations, arena.struck


async def _run(arena: Arena) -> list[Violation]:
    async with arena:
        return await arena.run()


def _first_of_each_kind(violations: list[Violation]) -> Iterable[Violation]:
    """Return one violation of each kind: one fault often affects many clients."""
    return {each.kind: each for each in sorted(violations, key=lambda each: -each.since)}.values()


def _scenario_of(seed: int) -> str:
    """Return the scenario of a seed: every other one is mixed, the rest take turns."""
    others = [name for name in SCENARIOS if name != "mixed"]
    return "mixed" if seed % 2 else others[seed // 2 % len(others)]


def _table(struck: Counter[str]) -> str:
    """Return a table of how often each fault was injected, including those that never were."""
    known = {fault.__name__ for scenario in SCENARIOS.values() for lane in scenario.lanes for fault in lane}
    rows = sorted(((struck[fault], fault) for fault in known | struck.keys()), reverse=True)
    lines = ["| fault | times |", "| --- | ---: |", *(f"| `{fault}` | {count} |" for count, fault in rows)]
    return "\n".join(["", *lines])


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=_seeds, default=range(1, 29), metavar="1-28", help="a number, or a range")
    parser.add_argument("--seconds", type=float, help="how long faults are injected, per run")
    parser.add_argument("--scenario", choices=SCENARIOS, help="for all seeds; the default depends on the seed")
    parser.add_argument("--clients", type=int, default=36, help="without those that run the browser library")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for logs and journals of runs with violations")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
