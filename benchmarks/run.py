"""Compare Notifier with plain flask-sock and aiohttp, and print one table.

Usage: `python -m benchmarks.run [--quick] [SCENARIO ...]`. Every measure starts its contender again, with one worker
and nothing else running. Progress is printed to standard error, the tables to standard output. `inbox`, `access` and
`storms` have their own tables: the peers have no inbox, no access control, and cannot resume.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time

from benchmarks import access, floor, inbox, load, storms
from benchmarks.contenders import CONTENDERS, running
from benchmarks.measures import FULL, QUICK, ROWS, SCENARIOS, Bench

STORMS, INBOX, ACCESS = "storms", "inbox", "access"
ALONE = (INBOX, ACCESS, STORMS)
NAMES = [contender.name for contender in CONTENDERS]
CONDITIONS = (
    "One worker each, {cores} cores shared with the load client, Python {python}, 127.0.0.1. `x`: how many "
    "times better Notifier is. The peers have no Redis, tokens or history, which is to their advantage. "
    "The CPU time of Notifier's Valkey is not included."
)


def main():
    """Measure the requested scenarios and print the tables."""
    options = arguments()
    raise_file_limit()
    scenarios = [scenario for scenario in options.scenarios or SCENARIOS if scenario not in ALONE]
    if scenarios:
        print(compare(scenarios, options.scale))
    if not options.scenarios or INBOX in options.scenarios:
        print(alone(inbox.ROWS, {INBOX: with_clients(inbox.measure)}, options.scale))
    if not options.scenarios or ACCESS in options.scenarios:
        print(alone(access.ROWS, {ACCESS: with_clients(access.measure)}, options.scale))
    if not options.scenarios or STORMS in options.scenarios:
        print(alone(storms.ROWS, storms.STORMS, options.scale))


def compare(scenarios, scale):
    """Return the table of Notifier and its peers."""
    figures, notes = {}, []
    with tempfile.TemporaryDirectory(prefix="benchmark-load-") as directory:
        load.build(directory)
        for scenario in scenarios:
            for contender in CONTENDERS:
                if contender.available():
                    own_notes = []
                    measuring = measure(scenario, contender, scale, directory, own_notes)
                    record(f"{contender.name}, {scenario}", ROWS, contender.name, measuring, figures, own_notes)
                    notes += own_notes
    if any(key.startswith("paced") for key, _ in figures):
        notes.append(floor_note(scale))
    return table(figures, notes)


def with_clients(measuring):
    """Return a measure that has the compiled clients in a directory."""

    def measured(scale, notes):
        with tempfile.TemporaryDirectory(prefix="benchmark-load-") as directory:
            load.build(directory)
            yield from measuring(scale, directory, notes)

    return measured


def alone(titles, measures, scale):
    """Return a table of measures without peers."""
    figures, notes = {}, []
    for name, measuring in measures.items():
        own_notes = []
        record(name, titles, "", measuring(scale, own_notes), figures, own_notes)
        notes += own_notes
    rows = [(row.title, row.unit.format(figures[key, ""]), verdict(row, figures[key, ""]))
            for key, row in titles.items() if (key, "") in figures]  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in (("", "measured", "target"), ("---", "---:", "---:"), *rows)]
    return "\n".join(["", *lines, "", *(f"- {note}" for note in notes)])


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join([*SCENARIOS, *ALONE]))
    parser.add_argument("--quick", action="store_const", dest="scale", const=QUICK, default=FULL,
                        help="smaller numbers and shorter times: rough figures")  # fmt: skip
    options = parser.parse_args()
    if unknown := set(options.scenarios) - {*SCENARIOS, *ALONE}:
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    return options


def raise_file_limit():
    """Raise the limit of open files as far as possible; the contenders inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(scenario, contender, scale, directory, notes):
    """Yield one contender's figures of one scenario."""
    with running(contender) as service:
        yield from SCENARIOS[scenario](Bench(service, scale, directory, notes))


def record(label, rows, name, measuring, figures, notes):
    """Add measured figures to all figures. A failure becomes a note, and the run continues."""
    begin = time.monotonic()
    try:
        for key, figure in measuring:
            figures[key, name] = figure
            report(f"{label}: {rows[key].title}: {rows[key].unit.format(figure)}")
    except Exception as error:  # the other measures are still worth taking
        notes.append(f"{type(error).__name__}: {error}")
    notes[:] = [f"{label}: {note}" for note in notes]
    for note in notes:
        report(note)
    report(f"  {label} took {time.monotonic() - begin:.0f} s")


def floor_note(scale):
    """Return a note of what the kernel alone needs for the writes of the paced measure."""
    least = floor.microseconds_per_write(scale.connections, rate=20, seconds=scale.paced_seconds, size=300)
    return f"the floor: one os.write of 300 bytes to each of as many sockets, 20 rounds per second: {least:.2f} us"


def report(text):
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def table(figures, notes):
    """Return the table in Markdown, with conditions and notes below it."""
    head = ["", *NAMES, *(f"x {peer}" for peer in NAMES[1:]), "target"]
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
    """Return the target, and whether it is met."""
    if not row.target:
        return ""
    target = row.unit.format(row.target)
    if ours is None:
        return target
    is_met = ours <= row.target if row.less_is_better else ours >= row.target
    return f"{target} {'met' if is_met else '**missed**'}"


if __name__ == "__main__":
    main()
