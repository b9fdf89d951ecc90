"""Faults of the disk that Valkey writes to.

While a flush takes long, Valkey with `appendfsync everysec` answers, and keeps what it has to write in its memory for
up to two seconds. The harness holds the thread that flushes.
"""

import asyncio
import random
import time
from collections.abc import Collection

from chaos.arena import Arena

_BEGINS_WITHIN = 5.0  # seconds until Valkey keeps something in memory
_FORGOTTEN_AFTER = 12.0  # seconds; a worker unsubscribes from a channel that has had no connection for ten
_BATCH = 10  # notifications to users who are offline


async def slow_disk(arena: Arena, rng: random.Random) -> None:
    """Make a flush of Valkey's file take long."""
    seconds = rng.uniform(0.5, 4)
    if not _hold(arena, "slow_disk", f"a flush takes {seconds:.1f} s"):
        return
    try:
        await asyncio.sleep(seconds)
    finally:
        arena.valkey.continue_flush()
    arena.journal.note("slow_disk", "the disk is fast again")


async def kill_on_slow_disk(arena: Arena, rng: random.Random) -> None:
    """Kill Valkey while it keeps acknowledged writes in memory, and start it again without them."""
    await _lose(arena, rng, "kill_on_slow_disk", ())


async def kill_while_offline(arena: Arena, rng: random.Random) -> None:
    """Do the same to users who have been offline for so long that no worker is subscribed to their channels."""
    users = rng.sample(arena.crowd.users, min(3, len(arena.crowd.users)))
    clients = [each for each in arena.crowd.everybody if each.user in users and each not in arena.away]
    arena.journal.note("kill_while_offline", f"{', '.join(users)} go offline")
    arena.away.update(clients)
    try:
        await asyncio.gather(*(client.leave() for client in clients))
        await asyncio.sleep(_FORGOTTEN_AFTER)
        await _lose(arena, rng, "kill_while_offline", users)
    finally:
        for client in clients:
            client.come_back()
            arena.away.discard(client)


def _hold(arena: Arena, fault: str, what: str) -> bool:
    """Hold the flush; return False where ptrace is forbidden: then the fault counts as not injected."""
    try:
        arena.valkey.hold_flush()
    except PermissionError as error:
        arena.journal.note(fault, f"is not possible: {error}")
        return False
    arena.strike(fault, what)
    return True


async def _lose(arena: Arena, rng: random.Random, fault: str, users: Collection[str]) -> None:
    since = time.monotonic()
    if not _hold(arena, fault, "a flush takes long"):
        return
    size = 0
    try:
        while not await arena.valkey.unwritten() and time.monotonic() < since + _BEGINS_WITHIN:
            await asyncio.sleep(0.02)
        if users:
            name = f"{fault} {arena.struck[fault]}"
            await arena.publisher.burst({"users": list(users)}, _BATCH, 100, name)
        else:
            await asyncio.sleep(rng.uniform(0.1, 1.5))
        size = await arena.valkey.unwritten()
        # Commands that Valkey has read by now may still be written and acknowledged.
        arena.valkey.kill()
    finally:
        arena.valkey.continue_flush()
        arena.ledger.crashes.append((since, time.monotonic()))
        arena.journal.note("run", f"Valkey is killed with {size} unwritten bytes")
        arena.lost_bytes += size
        await asyncio.sleep(rng.uniform(0, 1))
        await arena.valkey.start()
    arena.journal.note("run", "Valkey is back")
