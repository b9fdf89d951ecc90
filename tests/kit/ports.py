"""Ports for what a test starts."""

import random
import socket

# Below those that the system gives to outgoing connections: one of these could take the port of a service that is just
# restarting, or not yet there.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    while True:
        with socket.socket() as probe:
            port = random.choice(_PORTS)
            if probe.connect_ex(("127.0.0.1", port)):
                return port
