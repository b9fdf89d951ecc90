"""A proxy in a thread, for callers without an event loop: tests and benchmarks."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

from chaos.proxy import Proxy


class Aside:
    """A proxy that runs in a thread of its own and listens on `port`."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.port = proxy.port
        self._proxy = proxy
        self._loop = loop

    def ask(self, what: Callable[[Proxy], Any]) -> Any:
        """Call a function with the proxy in its thread, and return the result."""

        async def answer() -> Any:
            return what(self._proxy)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()

    def silence(self) -> None:
        """Stall every subscriber: its connection stays open, but delivers nothing."""
        self.ask(lambda proxy: [link.die() for link in proxy.subscribers()])


@contextlib.contextmanager
def running_aside(port: int) -> Iterator[Aside]:
    """Run a proxy in front of a port of 127.0.0.1."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port), random.Random(port))
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result()
        yield Aside(proxy, loop)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
