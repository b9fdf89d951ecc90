"""A Valkey on a slow disk, as the harness makes it: it acknowledges what it has not written."""

import asyncio

import pytest

from chaos.processes import Valkey


async def lose(valkey: Valkey) -> tuple[int, int]:
    """Append to a list until Valkey keeps writes in memory, and kill it; return the length before and afterwards."""
    await valkey.start()
    await valkey.command("RPUSH", "list", "first")
    try:
        valkey.hold_flush()
    except PermissionError:
        pytest.skip("this machine forbids ptrace")
    async with asyncio.timeout(10):
        while not await valkey.unwritten():
            await valkey.command("RPUSH", "list", "later")
    before = await valkey.command("LLEN", "list")
    valkey.kill()
    await valkey.start()
    return int(str(before)), int(str(await valkey.command("LLEN", "list")))


async def flush(valkey: Valkey) -> int:
    """Do the same, but continue the flush; return how many bytes are not written some time later."""
    await valkey.start()
    valkey.hold_flush()
    async with asyncio.timeout(10):
        while not await valkey.unwritten():
            await valkey.command("RPUSH", "list", "later")
        valkey.continue_flush()
        while await valkey.unwritten():
            await asyncio.sleep(0.01)
    return await valkey.unwritten()


def test_a_kill() -> None:
    """Acknowledged writes are lost if Valkey is killed while a flush takes long, and earlier ones are not."""
    valkey = Valkey("everysec")
    try:
        before, afterwards = asyncio.run(lose(valkey))
    finally:
        valkey.remove()
    assert 1 <= afterwards < before


def test_a_flush_that_continues() -> None:
    """Everything is written once the disk is fast again."""
    valkey = Valkey("everysec")
    try:
        assert asyncio.run(flush(valkey)) == 0
    except PermissionError:
        pytest.skip("this machine forbids ptrace")
    finally:
        valkey.remove()
