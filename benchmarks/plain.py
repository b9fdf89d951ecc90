"""Connections without a WebSocket: Server-Sent Events, and waiting polls."""

import contextlib
import json
import socket

WELCOME = b'"type":"welcome"'


class Streams(contextlib.ExitStack):
    """`count` requests for the stream of a service without a WebSocket, each with its own user."""

    def __init__(self, service, count, accept, since=""):
        """Open them one after the other, each until its `welcome`."""
        super().__init__()
        for number in range(count):
            sock = self.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
            sock.sendall(request(service.contender, f"plain-{number}", accept, since))
            answer = b""
            while WELCOME not in answer:
                answer += sock.recv(65536)


def request(contender, user, accept, since):
    """Return a request for the topics of a hello."""
    hello = json.loads(contender.hello(user))
    query = "&".join([f"topic={topic}" for topic in hello["topics"]] + ([f"since={since}"] if since else []))
    return (
        f"GET {contender.stream}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n"
        f"Authorization: Bearer {hello['token']}\r\n\r\n"
    ).encode()
