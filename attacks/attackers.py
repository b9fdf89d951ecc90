"""Attackers: each kind of attack in a process of its own, for a bounded time."""

import http.client
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any, NamedTuple

from attacks.flooder import after, flood_with_frames
from attacks.floods import Flood
from attacks.holds import Hold, Holder
from attacks.requests import RequestFlood, flood_with_requests
from attacks.target import Target
from tests.kit import environment

Step = Callable[[Target, int], Iterator[str]]  # of an attacker with a number; it yields what came of each step
_SPAWN = get_context("spawn")  # threads run in the process that measures, which a fork would copy in any state
_PAUSE = 0.2  # seconds between two steps of connections that are held


class Attack(NamedTuple):
    """An attack by so many connections, or clients, at a time. They come from so many `addresses`."""

    name: str
    means: Flood | RequestFlood | Hold | Step
    connections: int = 4
    addresses: int = 250


def start(attack: Attack, target: Target, seconds: float) -> Callable[[], str]:
    """Start a process that attacks, and return a function that waits for its end and returns what came of it."""
    receiver, sender = _SPAWN.Pipe(duplex=False)
    attacker = _SPAWN.Process(target=_run, args=(attack, target, seconds, sender))
    attacker.start()

    def finish() -> str:
        outcome: str = receiver.recv()
        attacker.join()
        return outcome

    return finish


def _run(attack: Attack, target: Target, seconds: float, sender: Any) -> None:
    """Attack, and send back how often each code, status or answer came."""
    os.nice(10)  # attackers elsewhere do not take the processor of the service and of others
    environment.allow_open_files()
    outcomes: Counter[Any] = _outcomes(attack, target, seconds)
    sender.send(", ".join(f"{outcome}: {count}" for outcome, count in outcomes.most_common()))


def _outcomes(attack: Attack, target: Target, seconds: float) -> Counter[Any]:
    match attack.means:
        case Flood() as flood:
            return flood_with_frames(target, flood, attack.connections, after(seconds), attack.addresses)
        case RequestFlood() as flood:
            return flood_with_requests(target, flood, attack.connections, seconds)
        case Hold() as hold:
            return _hold(target, hold, attack, after(seconds))
        case step:
            return _take_steps(target, step, attack, after(seconds))


def _hold(target: Target, hold: Hold, attack: Attack, is_over: Callable[[], bool]) -> Counter[Any]:
    with Holder(target, hold, attack.connections, attack.addresses) as holder:
        pause = threading.Event()
        while not is_over():
            holder.step()
            pause.wait(_PAUSE)
        return Counter({"held": attack.connections, "lost": holder.lost})


def _take_steps(target: Target, step: Step, attack: Attack, is_over: Callable[[], bool]) -> Counter[Any]:
    outcomes: Counter[Any] = Counter()

    def attack_again(number: int) -> None:
        while not is_over():
            try:
                for outcome in step(target, number % attack.addresses):
                    outcomes[outcome] += 1
                    if is_over():
                        return
            except (OSError, EOFError, AssertionError, http.client.HTTPException) as error:  # the service refuses
                outcomes[type(error).__name__] += 1
                threading.Event().wait(0.01)

    threads = [threading.Thread(target=attack_again, args=(number,)) for number in range(attack.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
