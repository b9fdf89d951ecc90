"""Faults of the clients, and of the network between them and the service. Each one repairs what it broke."""

import asyncio
import random

from chaos.arena import Arena
from chaos.browsers import Browser
from chaos.faults import burst

_MOST_CLIENTS = 80  # a long run must not overload the harness
_TORN = 30  # notifications to each of two channels, of which clients read a part
_TRIMS = 75  # notifications that trim a few of those, where the history has a hundred, but none that are later


async def cut_clients(arena: Arena, rng: random.Random) -> None:
    """Make some clients lose their sockets."""
    arena.strike("cut_clients")
    for client in arena.some(rng):
        client.cut()


async def tear(arena: Arena, rng: random.Random) -> None:
    """Make clients lose their sockets within a batch to two channels, whose rest is trimmed before they return."""
    topic = rng.choice(arena.crowd.topics)
    clients = [each for each in arena.crowd.clients if topic in each.topics and each not in arena.away]
    name = f"tear {arena.strike('tear', f'a batch to {topic} and all, of which some clients read a part')}"
    arena.away.update(clients)
    for client in clients:
        client.leave_after(rng.randint(_TORN // 3, _TORN))
    try:
        await arena.publisher.alternate([{"topics": [topic]}, {"all": True}], 2 * _TORN, name)
        await arena.publisher.burst({"all": True}, _TRIMS, 100, f"{name}, later")
    finally:
        for client in clients:
            client.come_back()
            arena.away.discard(client)


async def publish_offline(arena: Arena, rng: random.Random) -> None:
    """Make browsers publish while they are offline, and publish more to all than is stored."""
    browsers = [each for each in arena.some(rng) if isinstance(each, Browser)]
    name = f"offline {arena.strike('publish_offline', 'some browsers publish while they are offline')}"
    arena.away.update(browsers)
    for browser in browsers:
        await browser.leave()
        for _ in range(3):
            browser.publish(arena.ledger, rng.choice(arena.crowd.topics), rng)
    try:
        await arena.publisher.burst({"all": True}, 150, 100, name)
    finally:
        for browser in browsers:
            browser.come_back()
            arena.away.discard(browser)


async def leave(arena: Arena, rng: random.Random) -> None:
    """Take some clients offline for a while, sometimes for longer than a worker keeps their channels."""
    seconds = rng.choice((0.1, 1, 3, 11))
    arena.strike("leave", f"some clients go offline for {seconds} s")
    clients = [client for client in arena.some(rng) if client not in arena.away]
    arena.away.update(clients)
    for client in clients:
        await client.leave()

    async def come_back() -> None:
        await asyncio.sleep(min(seconds, arena.seconds_left()))
        for client in clients:
            client.come_back()
            arena.away.discard(client)

    arena.later(come_back())


async def arrive(arena: Arena, rng: random.Random) -> None:
    """Add new clients, which have no cursor."""
    arena.strike("arrive", "new clients connect")
    for _ in range(2):
        if len(arena.crowd.clients) < _MOST_CLIENTS:
            arena.crowd.add_client(rng)


async def read_slowly(arena: Arena, rng: random.Random) -> None:
    """Make some clients stop reading for a while."""
    clients = [client for client in arena.crowd.clients if client.receive_buffer]
    seconds = rng.uniform(0.5, 4)
    arena.strike("read_slowly", f"some clients do not read for {seconds:.1f} s")
    for client in clients:
        client.note("stops reading")
        client.reads.clear()
    try:
        await burst(arena, rng)
        await asyncio.sleep(seconds)
    finally:
        for client in clients:
            client.note("reads again")
            client.reads.set()


async def wander(arena: Arena, rng: random.Random) -> None:
    """Make clients unsubscribe from topics, and subscribe again with a cursor."""
    arena.strike("wander", "some clients leave topics for a while")
    for client in arena.some(rng):
        if client.topics:
            arena.later(client.wander(list(client.topics), min(rng.uniform(0, 2), arena.seconds_left())))
    await asyncio.sleep(rng.uniform(0, 0.5))


async def hold_clients(arena: Arena, rng: random.Random) -> None:
    """Hold back all bytes between some clients and the service for a while."""
    arena.strike("hold_clients", "all bytes between some clients and the service are held back")
    for link in list(arena.client_proxy.links):
        if rng.random() < 0.4:
            link.flows.clear()
    try:
        await asyncio.sleep(rng.uniform(0.5, 6))
    finally:
        arena.client_proxy.heal()


async def delay_clients(arena: Arena, rng: random.Random) -> None:
    """Delay all bytes between clients and service, and pass them in small pieces."""
    arena.client_proxy.delay = rng.uniform(0.01, 0.2)
    arena.client_proxy.piece = rng.choice((100, 1000, 65536))
    arena.strike("delay_clients", f"bytes between clients and service take up to {arena.client_proxy.delay:.2f} s")
    try:
        await asyncio.sleep(rng.uniform(1, 3))
    finally:
        arena.client_proxy.heal()


async def half_close_clients(arena: Arena, rng: random.Random) -> None:
    """Close only the sending direction of some clients."""
    arena.strike("half_close_clients")
    for link in list(arena.client_proxy.links):
        if rng.random() < 0.3:
            link.half_close()


async def refuse_clients(arena: Arena, rng: random.Random) -> None:
    """Abort all connections of the proxy, and accept no new ones for a while."""
    arena.strike("refuse_clients")
    arena.client_proxy.refuses = True
    for link in list(arena.client_proxy.links):
        link.cut()
    try:
        await asyncio.sleep(rng.uniform(0.2, 2))
    finally:
        arena.client_proxy.heal()
