"""Faults of the disk that Valkey writes to.

While a flush takes long, Valkey with `appendfsync everysec` answers, and keeps what it has to write in its memory for
up to two seconds. The harness holds the thread that flushes.
"""

import asyncio
import random
import time

from chaos.arena import Arena

_BEGINS_WITHIN = 5.0  # seconds until Valkey keeps something in memory


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
    since = time.monotonic()
    arena.valkey.hold_flush()
    end = since + _BEGINS_WITHIN
    try:
        while not await arena.valkey.unwritten() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await asyncio.sleep(rng.uniform(0.1, 1.5))
        size = await arena.valkey.unwritten()
        # Commands that Valkey has read by now may still be written and acknowledged.
        arena.valkey.kill()
    finally:
        arena.valkey.continue_flush()
        arena.ledger.crashes.append((since, time.monotonic()))
        arena.journal.note("kill_on_slow_disk", "Valkey is killed")
        await asyncio.sleep(rng.uniform(0, 1))
        await arena.valkey.start()
    arena.journal.note("kill_on_slow_disk", f"Valkey is back, without {size} bytes")
    arena.lost_bytes += size
