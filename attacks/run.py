"""Attack a service of one's own, and measure what others notice.

Usage: `python -m attacks.run [--seconds N] [--connections N] [--only TEXT]`. One worker with an embedded Valkey on
loopback; attackers are another process. For each attack: how long others take, against quiet, and the worker's memory
before, at most, and some seconds afterwards. Run it on a machine that does nothing else.
"""

import argparse
import os
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import NamedTuple

from attacks.flooder import Flooder, run
from attacks.floods import FRAMES, USERS, Flood
from attacks.others import Others
from attacks.requests import REQUESTS, RequestFlood, flood_with_requests
from benchmarks.process import children, command_line, resident_bytes
from tests.kit import environment, raw
from tests.kit.service import Service

REST = 3.0  # seconds after an attack, until memory is looked at again
P99, TIMES, BACK = 0.05, 2.0, 1.2  # the budgets: seconds, times the quiet p50, times the memory before
HELD, FLOODING, USERS_IN, WITHIN = 500, 12, 10, 1.0  # held places, flooding strangers; users, and their time

_SPAWN = get_context("spawn")  # threads run here, which a fork would copy in any state


class Result(NamedTuple):
    """The times of other clients during an attack, in seconds, and the memory of the worker in bytes."""

    name: str
    others: Others
    before: int
    peak: int
    after: int
    codes: str


def main() -> int:
    """Attack, print the table, and return 1 if a budget is not met."""
    options = _arguments()
    environment.allow_open_files()
    with Service(workers=1, max_connections=HELD + 100, max_history=2000) as service:
        with service.client("warm"):  # what a worker loads once is no attacker's memory
            quiet = _measure(service, "quiet", options.seconds, lambda: "")
        print(_row(quiet, quiet), flush=True)
        missed = 0
        for flood in (each for each in [*FRAMES, *USERS, *REQUESTS] if options.only in each.name):
            result = _flood(service, flood, options.seconds, options.connections)
            print(_row(result, quiet), flush=True)
            missed += not _is_within(result, quiet)
        places = _places(service)
    print(f"{USERS_IN} users among {HELD} held places and {FLOODING} flooding strangers: {_within(places)}")
    print(
        f"{missed} attacks exceed a budget: p50 x {TIMES:g} (at least 5 ms), p99 {P99 * 1000:.0f} ms, memory x {BACK}."
    )
    return 1 if missed or len(places) < USERS_IN or max(places) > WITHIN else 0


def _flood(service: Service, flood: Flood | RequestFlood, seconds: float, connections: int) -> Result:
    token = service.token("attacker", ["room", "new-*"], publish=["room"])
    receiver, sender = _SPAWN.Pipe(duplex=False)
    arguments = (service.port, flood, token, seconds, connections, sender)
    target = _attack_with_requests if isinstance(flood, RequestFlood) else _attack
    attacker = _SPAWN.Process(target=target, args=arguments)

    def attack() -> str:
        attacker.start()
        codes: str = receiver.recv()
        attacker.join()
        return codes

    return _measure(service, flood.name, seconds, attack)


def _attack(port: int, flood: Flood, token: str, seconds: float, connections: int, sender: object) -> None:
    """Flood, again and again where the service closes connections, and send the codes back."""
    os.nice(10)  # attackers elsewhere do not take the processor of the service and of others
    end = time.monotonic() + seconds
    codes: dict[int | None, int] = {}
    while time.monotonic() < end:
        flooders = []
        for number in range(connections):
            try:
                flooders.append(Flooder(port, flood, token, f"127.0.0.{2 + number}"))
            except OSError:
                codes[0] = codes.get(0, 0) + 1
        run(flooders, max(end - time.monotonic(), 0.1))
        for flooder in flooders:
            code = flooder.code if flooder.status == 101 else flooder.status
            codes[code] = codes.get(code, 0) + 1
            flooder.close()
    sender.send(", ".join(f"{code}: {count}" for code, count in codes.items()))  # type: ignore[attr-defined]


def _attack_with_requests(
    port: int, flood: RequestFlood, token: str, seconds: float, connections: int, sender: object
) -> None:
    """Flood with requests, and send the statuses of the answers back."""
    os.nice(10)
    statuses = flood_with_requests(port, flood.of(token), connections, seconds)
    sender.send(", ".join(f"{status}: {count}" for status, count in statuses.items()))  # type: ignore[attr-defined]


def _measure(service: Service, name: str, seconds: float, attack: Callable[[], str]) -> Result:
    [worker] = [pid for pid in children(service.pid) if "valkey" not in command_line(pid)]
    before = peak = resident_bytes(worker)
    others, codes = Others(service), [""]
    with others.watching():
        thread = threading.Thread(target=lambda: codes.__setitem__(0, attack()))
        end = time.monotonic() + seconds
        thread.start()
        while thread.is_alive() or time.monotonic() < end:
            peak = max(peak, resident_bytes(worker))
            time.sleep(0.2)
    time.sleep(REST)
    return Result(name, others, before, peak, resident_bytes(worker), codes[0])


def _places(service: Service) -> list[float]:
    """Return how long each of some users took to get in, while strangers hold places and flood."""
    held = [
        socket.create_connection(("127.0.0.1", service.port), 20, (f"127.0.1.{1 + n % 250}", 0)) for n in range(HELD)
    ]
    for sock in held:
        sock.sendall(raw.handshake("GET /v1/stream HTTP/1.1"))
    flood = next(each for each in FRAMES if each.name == "pings")
    receiver, sender = _SPAWN.Pipe(duplex=False)
    attacker = _SPAWN.Process(target=_attack, args=(service.port, flood, "", 8.0, FLOODING, sender))
    attacker.start()
    time.sleep(1)
    times = []
    for number in range(USERS_IN):
        begin = time.monotonic()
        try:
            service.client(f"user-{number}").close()
            times.append(time.monotonic() - begin)
        except Exception as error:
            print(f"user {number}: {error!r}")
        time.sleep(0.3)
    receiver.recv()
    attacker.join()
    for sock in held:
        sock.close()
    return times


def _is_within(result: Result, quiet: Result) -> bool:
    kinds = result.others.times
    return result.after <= BACK * result.before and all(
        result.others.percentile(kind, 0.5) <= max(TIMES * quiet.others.percentile(kind, 0.5), 0.005)
        and result.others.percentile(kind, 0.99) <= max(P99, quiet.others.percentile(kind, 0.99))
        for kind in kinds
    )


def _row(result: Result, quiet: Result) -> str:
    times = "  ".join(
        f"{kind} {1000 * result.others.percentile(kind, 0.5):6.1f} {1000 * result.others.percentile(kind, 0.99):7.1f}"
        for kind in result.others.times
    )
    memory = " ".join(f"{size >> 20:4}" for size in (result.before, result.peak, result.after))
    mark = " " if _is_within(result, quiet) else "!"
    return f"{mark} {result.name:44} {times}  MB {memory}  {result.codes}"


def _within(places: list[float]) -> str:
    return f"{len(places)} got in, the slowest in {max(places, default=0):.2f} s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5, help="of each attack")
    parser.add_argument("--connections", type=int, default=4, help="of each attack")
    parser.add_argument("--only", default="", help="attacks with this text in their name")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
