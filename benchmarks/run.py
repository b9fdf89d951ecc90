"""Measure Notifier beside plain flask-sock and aiohttp, and print one table.

Usage: `python -m benchmarks.run [--quick] [SCENARIO ...]`. Every measure starts its contender anew, with one
worker and nothing else running. Progress goes to standard error, the table to standard output.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time

from benchmarks import floor, load
from benchmarks.contenders import CONTENDERS, running
from benchmarks.measures import FULL, QUICK, ROWS, SCENARIOS, Bench

NAMES = [contender.name for contender in CONTENDERS]
CONDITIONS = (
    "One worker each, {cores} cores shared with the load client, Python {python}, 127.0.0.1. `x` says how "
    "many times better Notifier is. The peers do without Redis, tokens and history, which is to their "
    "advantage. The CPU time of Notifier's Valkey is not counted."
)


def main():
    """Measure what was asked for and print the table."""
    options = arguments()
    raise_file_limit()
    figures, notes = {}, []
    with tempfile.TemporaryDirectory(prefix="benchmark-load-") as directory:
        load.build(directory)
        for scenario in options.scenarios or SCENARIOS:
            for contender in CONTENDERS:
                if contender.available():
                    measure(scenario, contender, options.scale, directory, figures, notes)
    if any(key.startswith("paced") for key, _ in figures):
        notes.append(floor_note(options.scale))
    print(table(figures, notes))


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_const", dest="scale", const=QUICK, default=FULL,
                        help="smaller counts and shorter times: rough figures")  # fmt: skip
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    return options


def raise_file_limit():
    """Allow as many open files as the machine allows; the contenders inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(scenario, contender, scale, directory, figures, notes):
    """Add one contender's figures of one scenario. A failure becomes a note, and the run goes on."""
    begin, own_notes = time.monotonic(), []
    try:
        with running(contender) as service:
            for key, figure in SCENARIOS[scenario](Bench(service, scale, directory, own_notes)):
                figures[key, contender.name] = figure
                report(f"{contender.name}: {ROWS[key].title}: {ROWS[key].unit.format(figure)}")
    except Exception as error:  # whatever it was, the other contenders are still worth measuring
        own_notes.append(f"{type(error).__name__}: {error}")
    for note in own_notes:
        notes.append(f"{contender.name}, {scenario}: {note}")
        report(notes[-1])
    report(f"  {scenario} of {contender.name} took {time.monotonic() - begin:.0f} s")


def floor_note(scale):
    """Say what the kernel alone takes for the paced measure's writes."""
    least = floor.microseconds_per_write(scale.connections, rate=20, seconds=scale.paced_seconds, size=300)
    return f"the floor: a bare os.write of 300 bytes to each of as many sockets, 20 rounds a second: {least:.2f} us"


def report(text):
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def table(figures, notes):
    """Return the table in Markdown, and below it what the reader must know."""
    head = ["", *NAMES, *(f"x {peer}" for peer in NAMES[1:]), "budget"]
    measured = {key for key, _ in figures}
    rows = [cells(key, figures) for key in ROWS if key in measured]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)]
    conditions = CONDITIONS.format(cores=os.cpu_count(), python=platform.python_version())
    return "\n".join([*lines, "", conditions, *(f"- {note}" for note in notes)])


def cells(key, figures):
    """Return the cells of one row."""
    row = ROWS[key]
    ours, *theirs = (figures.get((key, name)) for name in NAMES)
    values = ["-" if figure is None else row.unit.format(figure) for figure in (ours, *theirs)]
    return [row.title, *values, *(times_better(row, ours, other) for other in theirs), verdict(row, ours)]


def times_better(row, ours, theirs):
    """Return how many times better ours is."""
    if not ours or not theirs:
        return "-"
    return f"{theirs / ours if row.less_is_better else ours / theirs:.1f}"


def verdict(row, ours):
    """Return the budget, and whether it is kept."""
    if not row.budget:
        return ""
    budget = row.unit.format(row.budget)
    if ours is None:
        return budget
    kept = ours <= row.budget if row.less_is_better else ours >= row.budget
    return f"{budget} {'kept' if kept else '**missed**'}"


if __name__ == "__main__":
    main()
