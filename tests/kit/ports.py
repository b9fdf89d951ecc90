"""Free ports for servers."""

import random
import socket

# Below the ports of outgoing connections: one of these could take the port of a service that is just
# restarting, or not yet there.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    while True:
        with socket.socket() as probe:
            port = random.choice(_PORTS)
            if probe.connect_ex(("127.0.0.1", port)):
                return port
