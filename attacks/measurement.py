"""Measurements: what others notice of an attack, the worker's memory, the limits that acted, and the budgets."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from attacks.attackers import Attack, start
from attacks.others import ENOUGH, Others
from attacks.target import Target
from benchmarks.process import children, command_line, resident_bytes
from tests.kit.service import Service

REST = 7.0  # seconds after an attack, until memory is looked at again
P99, TIMES, BACK = 0.05, 2.0, 1.2  # the budgets: seconds, times the quiet p50, times the memory before
_LIMITED = re.compile(r'^notifier_limited_total\{limit="(\w+)"\} (\S+)$', re.MULTILINE)


class Result(NamedTuple):
    """The times of other clients during an attack, in seconds, and the memory of the worker in bytes.

    `outcome` is what came of the attack, `limited` how often each limit refused something.
    """

    name: str
    others: Others
    before: int
    peak: int
    after: int
    outcome: str
    limited: dict[str, int]

    def is_within(self, quiet: "Result") -> bool:
        """Return whether the budgets are met, compared with the times without an attack."""
        return self.after <= BACK * self.before and all(
            self.others.percentile(kind, 0.5) <= TIMES * quiet.others.percentile(kind, 0.5)
            and self.others.percentile(kind, 0.99) <= P99
            for kind in self.others.times
        )

    def row(self, quiet: "Result") -> str:
        """Return a line of the table."""
        times = "  ".join(
            f"{kind} {1000 * self.others.percentile(kind, 0.5):6.1f} {1000 * self.others.percentile(kind, 0.99):7.1f}"
            f"{' ' if len(values) >= ENOUGH else 'w'}"
            for kind, values in self.others.times.items()
        )
        memory = " ".join(f"{size >> 20:4}" for size in (self.before, self.peak, self.after))
        limits = ", ".join(f"{limit} {count}" for limit, count in self.limited.items())
        mark = " " if self.is_within(quiet) else "!"
        return f"{mark} {self.name:52} {times}  MB {memory}  {self.outcome}{f'; limits: {limits}' if limits else ''}"


def measure(service: Service, target: Target, attack: Attack | None, seconds: float) -> Result:
    """Attack a service, unless `attack` is None, and measure for so many seconds."""
    worker = worker_of(service)
    limited, before = limits_of(service), resident_bytes(worker)
    peak, others = before, Others(service, target)
    finish: Callable[[], str] = start(attack, target, seconds) if attack else lambda: ""
    with others.watching(), ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(finish)
        end = time.monotonic() + seconds
        while not outcome.done() or time.monotonic() < end:
            peak = max(peak, resident_bytes(worker))
            time.sleep(0.2)
    time.sleep(REST)
    acted = {limit: count - limited.get(limit, 0) for limit, count in limits_of(service).items()}
    acted = {limit: count for limit, count in acted.items() if count}
    return Result(
        attack.name if attack else "quiet", others, before, peak, resident_bytes(worker), outcome.result(), acted
    )


def worker_of(service: Service) -> int:
    """Return the process of the only worker; the other child of the master is the embedded server."""
    [worker] = [pid for pid in children(service.pid) if "valkey" not in command_line(pid)]
    return worker


def limits_of(service: Service) -> dict[str, int]:
    """Return how often each limit has refused something."""
    return {limit: int(float(count)) for limit, count in _LIMITED.findall(service.metrics())}
