"""Faults of the service, of Valkey, and of the network between them.

Each one repairs what it broke before it returns, or breaks only what recovers automatically.
"""

import asyncio
import random

from chaos.arena import Arena

_NORMAL_BUFFER = "pubsub 33554432 8388608 60"  # Valkey's default
_SMALL_BUFFER = "pubsub 32768 16384 1"


# Of the service.


async def kill_worker(arena: Arena, rng: random.Random) -> None:
    """Kill one worker."""
    workers = arena.service.workers()
    if workers:
        pid = rng.choice(workers)
        arena.strike("kill_worker", f"worker {pid} is killed")
        arena.service.kill_worker(pid)
    await asyncio.sleep(rng.uniform(0.5, 1.5))


async def reload(arena: Arena, rng: random.Random) -> None:
    """Replace all workers by new ones."""
    arena.strike("reload", "all workers are replaced")
    arena.service.reload()
    await asyncio.sleep(rng.uniform(2, 4))


async def restart(arena: Arena, rng: random.Random) -> None:
    """End the whole service, and start it again."""
    arena.strike("restart", "the service ends")
    await asyncio.to_thread(arena.service.stop)
    arena.journal.note("restart", "the service has ended")
    await asyncio.sleep(rng.uniform(0, 1))
    await asyncio.to_thread(arena.service.start)
    arena.journal.note("restart", "the service is ready")


# Of Valkey.


async def kill_valkey(arena: Arena, rng: random.Random) -> None:
    """Kill Valkey, and start it again with its append-only file."""
    arena.strike("kill_valkey", "Valkey is killed")
    arena.valkey.kill()
    try:
        await asyncio.sleep(rng.uniform(0, 2.5))
    finally:
        await arena.valkey.start()
    arena.journal.note("kill_valkey", "Valkey is back")


async def freeze_valkey(arena: Arena, rng: random.Random) -> None:
    """Stop Valkey for a while, with its sockets open."""
    await _freeze(arena, "freeze_valkey", rng.uniform(0.3, 4))


async def freeze_valkey_for_long(arena: Arena, rng: random.Random) -> None:
    """Stop Valkey for longer than a worker waits before it reconnects."""
    await _freeze(arena, "freeze_valkey_for_long", rng.uniform(13, 18))
    await asyncio.sleep(2)


async def _freeze(arena: Arena, fault: str, seconds: float) -> None:
    arena.strike(fault, f"Valkey freezes for {seconds:.1f} s")
    arena.valkey.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        arena.valkey.thaw()
    arena.journal.note(fault, "Valkey runs again")


async def kill_subscribers(arena: Arena, rng: random.Random) -> None:
    """Make Valkey close the subscriber connection of each worker."""
    arena.strike("kill_subscribers", "Valkey closes all subscribers")
    await arena.valkey.command("CLIENT", "KILL", "TYPE", "pubsub")


async def overflow(arena: Arena, rng: random.Random) -> None:
    """Publish more at once than Valkey may buffer for a subscriber."""
    arena.strike("overflow", "a burst, with small output buffers")
    await arena.valkey.command("CONFIG", "SET", "client-output-buffer-limit", _SMALL_BUFFER)
    try:
        await burst(arena, rng)
    finally:
        await arena.valkey.command("CONFIG", "SET", "client-output-buffer-limit", _NORMAL_BUFFER)


async def burst(arena: Arena, rng: random.Random) -> None:
    """Publish more at once than fits into any buffer of a worker."""
    crowd = arena.crowd
    to = {"topics": [rng.choice(crowd.topics)]} if rng.random() < 0.7 else {"users": [rng.choice(crowd.users)]}
    count = rng.randint(100, 300)
    name = arena.strike("burst", f"a burst of {count} to {to}")
    await arena.publisher.burst(to, count, rng.choice((100, 2000)), f"burst {name}")


async def refuse_writes(arena: Arena, rng: random.Random) -> None:
    """Make Valkey reject writes: it is out of memory, or has too few replicas."""
    setting, bad = rng.choice((("maxmemory", "1"), ("min-replicas-to-write", "1")))
    arena.strike("refuse_writes", f"Valkey rejects writes because of {setting}")
    await arena.valkey.command("CONFIG", "SET", setting, bad)
    try:
        await asyncio.sleep(rng.uniform(0.5, 3))
    finally:
        await arena.valkey.command("CONFIG", "SET", setting, "0")
    arena.journal.note("refuse_writes", "Valkey accepts writes again")


# Of the network between the service and Valkey.


async def silence_subscriber(arena: Arena, rng: random.Random) -> None:
    """Cut off subscribers of workers silently: they no longer receive bytes, nor the end of the connection."""
    links = arena.broker_proxy.subscribers()
    for link in rng.sample(links, min(len(links), rng.randint(1, 3))):
        arena.strike("silence_subscriber", "a subscriber is silently dead")
        link.die()
    await asyncio.sleep(rng.uniform(1, 4))


async def deafen(arena: Arena, rng: random.Random) -> None:
    """Close all subscribers, and let no connection subscribe for a moment."""
    arena.strike("deafen", "no worker can subscribe")
    arena.broker_proxy.deafens = True
    await arena.valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
    try:
        await asyncio.sleep(rng.uniform(0.5, 2))
    finally:
        arena.broker_proxy.heal()
    arena.journal.note("deafen", "workers can subscribe again")


async def die_in_write(arena: Arena, rng: random.Random) -> None:
    """Cut off connections to Valkey silently, each in the middle of a write of a worker."""
    links = [link for link in arena.broker_proxy.links if not link.is_dead]
    for link in rng.sample(links, min(len(links), rng.randint(1, 3))):
        arena.strike("die_in_write", "a connection to Valkey dies in the middle of a write")
        link.die_after(rng.randint(1, 3000))
    await asyncio.sleep(rng.uniform(0.5, 3))


async def hold_broker(arena: Arena, rng: random.Random) -> None:
    """Hold back all bytes between the service and Valkey for a while."""
    arena.strike("hold_broker", "all bytes between service and Valkey are held back")
    for link in list(arena.broker_proxy.links):
        link.flows.clear()
    arena.broker_proxy.ignores = rng.random() < 0.5
    try:
        await asyncio.sleep(rng.uniform(0.5, 3.5))
    finally:
        arena.broker_proxy.heal()
    arena.journal.note("hold_broker", "the bytes pass again")


async def delay_broker(arena: Arena, rng: random.Random) -> None:
    """Delay all bytes between the service and Valkey, and pass them in small pieces."""
    arena.broker_proxy.delay = rng.uniform(0.01, 0.3)
    arena.broker_proxy.piece = rng.choice((500, 65536))
    arena.strike("delay_broker", f"bytes to and from Valkey take up to {arena.broker_proxy.delay:.2f} s")
    try:
        await asyncio.sleep(rng.uniform(1, 4))
    finally:
        arena.broker_proxy.heal()
    arena.journal.note("delay_broker", "bytes to and from Valkey are fast again")


async def cut_broker(arena: Arena, rng: random.Random) -> None:
    """Abort some connections to Valkey."""
    links = list(arena.broker_proxy.links)
    cut = rng.sample(links, rng.randint(0, len(links)))
    arena.strike("cut_broker", f"{len(cut)} of {len(links)} connections to Valkey are aborted")
    for link in cut:
        link.cut()


async def swallow(arena: Arena, rng: random.Random) -> None:
    """Drop a few published entries on the way to a subscriber, without any sign of it."""
    links = arena.broker_proxy.subscribers()
    for link in rng.sample(links, min(len(links), 2)):
        link.swallow += rng.randint(1, 3)
        arena.strike("swallow", f"a subscriber misses {link.swallow} entries")
    await asyncio.sleep(rng.uniform(0.2, 1))
