"""Connections that send a hello and then never read."""

import base64
import contextlib
import os
import socket
import struct


class Stalled(contextlib.ExitStack):
    """`count` connections to a service, each with a small receive buffer."""

    def __init__(self, service, count):
        """Connect them one after the other; each reads the beginning of its handshake and nothing more."""
        super().__init__()
        for number in range(count):
            sock = self.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(handshake(service.contender.stream))
            sock.recv(len(b"HTTP/1.1 101"))
            sock.sendall(masked_text(service.contender.hello(f"stalled-{number}").encode()))


def handshake(path):
    """Return a request to upgrade."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked_text(payload):
    """Return a text frame with a mask of zeros, which leaves the payload as it is."""
    return struct.pack("!BBH4x", 0x81, 0x80 | 126, len(payload)) + payload
