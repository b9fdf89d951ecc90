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
    arena.strike("slow_disk", f"a flush takes {seconds:.1f} s")
    arena.valkey.hold_flush()
    try:
        await asyncio.sleep(seconds)
    finally:
        arena.valkey.continue_flush()
    arena.journal.note("slow_disk", "the disk is fast again")


async def kill_on_slow_disk(arena: Arena, rng: random.Random) -> None:
    """Kill Valkey while it keeps acknowledged writes in memory, and start it again without them."""
    arena.strike("kill_on_slow_disk", "a flush takes long")
    await _lose(arena, rng, ())


async def kill_while_offline(arena: Arena, rng: random.Random) -> None:
    """Do the same to users who have been offline for so long that no worker is subscribed to their channels."""
    users = rng.sample(arena.crowd.users, min(3, len(arena.crowd.users)))
    clients = [each for each in arena.crowd.everybody if each.user in users and each not in arena.away]
    arena.strike("kill_while_offline", f"{', '.join(users)} go offline")
    arena.away.update(clients)
    try:
        await asyncio.gather(*(client.leave() for client in clients))
        await asyncio.sleep(_FORGOTTEN_AFTER)
        await _lose(arena, rng, users)
    finally:
        for client in clients:
            client.come_back()
            arena.away.discard(client)


async def _lose(arena: Arena, rng: random.Random, users: Collection[str]) -> None:
    since = time.monotonic()
    arena.valkey.hold_flush()
    size = 0
    try:
        while not await arena.valkey.unwritten() and time.monotonic() < since + _BEGINS_WITHIN:
            await asyncio.sleep(0.02)
        if users:
            name = f"offline {arena.struck['kill_while_offline']}"
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
