"""A way to Valkey that can fall silent: connections that are open, and carry nothing."""

import asyncio
import contextlib
import random
import threading

from chaos.proxy import Proxy


class Silenceable:
    """A proxy that runs in a thread of its own; `port` is where it listens."""

    def __init__(self, proxy, loop):
        """Stand for a proxy that runs on a loop."""
        self.port = proxy.port
        self._proxy = proxy
        self._loop = loop

    def silence(self):
        """Let every subscriber be connected to nothing: no byte comes, and no end."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self._die(), done.set()))
        done.wait()

    def _die(self):
        for link in self._proxy.subscribers():
            link.die()


@contextlib.contextmanager
def silenceable(port):
    """Give a proxy before a port of 127.0.0.1."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port), random.Random(1))

    def run(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    run(proxy.start())
    try:
        yield Silenceable(proxy, loop)
    finally:
        run(proxy.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
