"""Attack a service of one's own, and measure what others notice.

Usage: `python -m attacks.run [--seconds N] [--connections N] [--only TEXT]`. One worker with an embedded Valkey on
loopback; attackers are another process. For each attack: how long others take, against quiet (the median and the 99th
percentile; w: the worst of fewer than 100 times), the worker's memory before, at most, and some seconds afterwards,
what came of the attack, and which limits acted. The first part has attackers whose addresses are not counted, the
second one those behind a trusted proxy, with low limits per address. Run it on a machine that does nothing else.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator

from attacks import floods, holds, requests, tokens, users
from attacks.attackers import Attack, start
from attacks.measurement import BACK, P99, TIMES, Result, measure
from attacks.target import Target
from tests.kit import environment
from tests.kit.service import Service

HTTP_PLACES, HELD_HTTP = 1000, 1100
HELD, FLOODING, USERS_IN, WITHIN = 500, 12, 10, 1.0  # held places, flooding strangers; users, and their time
SERVICE = {
    "workers": 1,
    "max_connections": HELD + 100,
    "max_http_connections": HTTP_PLACES,
    "max_history": 2000,
}
LOW_LIMITS = {  # of addresses
    "trusted_proxies": "127.0.0.0/8",
    "address_handshake_rate": 20,
    "address_connections": 50,
    "address_requests": 50,
}


def _all_attacks(connections: int) -> list[Attack]:
    """Return the attacks in which no limit per address acts."""
    many = [flood for flood in floods.USERS if flood.name in ("actions with one id", "actions with 1,000 ids")]
    return [
        *(Attack(f.name, f, connections) for f in [*floods.FRAMES, *floods.USERS, *floods.ECHOES, *requests.REQUESTS]),
        *(Attack(f"{flood.name}, from 100 connections", flood, 100) for flood in many),
        *(Attack(f"{HELD_HTTP} x {hold.name}", hold, HELD_HTTP) for hold in holds.HOLDS),
        Attack("reads of a rich inbox with one mute", users.rich_requests, 8),
        Attack("new connections that publish", users.reconnect_and_publish, connections),
        Attack("topics in turn", users.topics_in_turn, connections),
        Attack("connections with 100 topics", users.many_topics, connections),
        Attack("events and polls that are not read", users.unread_streams, 2),
        Attack("brief streams of all kinds", users.brief_streams, 8),
        Attack("tabs that are not read", users.unread_tabs, 1),
        Attack("hostile tokens", tokens.hostile_tokens, 8),
    ]


def _attacks_of_addresses(connections: int) -> list[Attack]:
    """Return the attacks that a limit per address refuses: each comes from few addresses."""
    named = {flood.name: flood for flood in floods.FRAMES}
    few = (holds.NO_HELLO, holds.EVENTS, holds.POLLS, holds.HALF_A_BODY, holds.SLOW_LINES, holds.USER_BODY)
    return [
        Attack("pings from one address", named["pings"], 4 * connections, 1),
        Attack("a text without end from one address", named["a text without end"], 4 * connections, 1),
        *(Attack(f"{HELD} x {hold.name}, 2 addresses", hold, HELD, 2) for hold in few),
        Attack("brief streams from one address", users.brief_streams, 8, 1),
        Attack("hostile tokens from one address", tokens.hostile_tokens, 8, 1),
        *(Attack(flood.name, flood, connections) for flood in requests.REQUESTS if flood.shares_address),
    ]


def main() -> int:
    """Attack, print the table, and return 1 if a budget is not met."""
    options = _arguments()
    environment.allow_open_files()
    missed = 0
    with Service(**SERVICE) as service:
        missed += _table(service, False, _all_attacks(options.connections), options)
        missed += 0 if options.only else _within(service, False)
    with Service(**SERVICE | LOW_LIMITS) as service:
        missed += _table(service, True, _attacks_of_addresses(options.connections), options)
        missed += 0 if options.only else _within(service, True)
    with _hostile_issuers() as service:
        attack = Attack("tokens of slow and endless key sets", tokens.unknown_keys, 8)
        missed += _table(service, False, [attack], options)
    print(f"{missed} exceed a budget: p50 x {TIMES:g}, p99 {P99 * 1000:.0f} ms, memory x {BACK}, users {WITHIN:g} s.")
    return 1 if missed else 0


def _table(service: Service, is_proxied: bool, attacks: list[Attack], options: argparse.Namespace) -> int:
    """Print a line for each attack, and return how many exceed a budget."""
    chosen = [attack for attack in attacks if options.only in attack.name]
    if not chosen:
        return 0
    target = Target.of(service, is_proxied)
    users.make_rich(target, "rich")
    measure(service, target, None, min(options.seconds, 2.0))  # what a worker loads once is no attacker's memory
    quiet = measure(service, target, None, options.seconds)
    results: list[Result] = [quiet]
    print(quiet.row(quiet), flush=True)
    for attack in chosen:
        results.append(measure(service, target, attack, options.seconds))
        print(results[-1].row(quiet), flush=True)
    return sum(not result.is_within(quiet) for result in results)


def _within(service: Service, is_proxied: bool) -> int:
    """Print how long users took to get in, while strangers hold places and flood. Return whether it was too long."""
    target = Target.of(service, is_proxied)
    pings = next(flood for flood in floods.FRAMES if flood.name == "pings")
    finish = [
        start(Attack("held", holds.NO_HELLO, HELD), target, 9.0),
        start(Attack("flooding", pings, FLOODING), target, 9.0),
    ]
    time.sleep(3)  # until both have begun
    times = []
    for number in range(USERS_IN):
        begin = time.monotonic()
        try:
            service.client(f"user-{number}").close()
            times.append(time.monotonic() - begin)
        except Exception as error:
            print(f"user {number}: {error!r}")
        time.sleep(0.3)
    outcomes = "; ".join(each() for each in finish)
    slowest = max(times, default=0.0)
    proxy = ", behind a proxy" if is_proxied else ""
    print(
        f"{len(times)} of {USERS_IN} users among {HELD} held places and {FLOODING} flooding strangers{proxy}: "
        f"the slowest in {slowest:.2f} s ({outcomes})"
    )
    return int(len(times) < USERS_IN or slowest > WITHIN)


@contextlib.contextmanager
def _hostile_issuers() -> Iterator[Service]:
    """Start a service whose issuers' key sets are slow, or never end."""
    servers, issuers = tokens.hostile_issuers()
    try:
        with Service(**SERVICE | {"token_issuers": issuers, "jwks_refresh": 10}) as service:
            yield service
    finally:
        for server in servers:
            server.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack")
    parser.add_argument("--connections", type=int, default=4, help="of each flood")
    parser.add_argument("--only", default="", help="attacks with this text in their name")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
