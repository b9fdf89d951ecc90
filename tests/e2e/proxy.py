"""Proxies as they stand in some offices: they know no WebSockets, and keep an answer until it is complete."""

import contextlib
import socket
import threading
from typing import Self

from tests.service import DEADLINE


class Proxy:
    """Forwards to a port of this machine, one request per connection.

    It refuses to upgrade. Where it `buffers`, it passes on an answer when that has ended.
    """

    def __init__(self, target: int, buffers: bool = False) -> None:
        self._target = target
        self._buffers = buffers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = {self._listener}
        self.refused = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            self._sockets.add(client)
            head, body = self._read_head(client)
            if b"\r\nupgrade:" in head.lower():
                self.refused += 1
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._target), DEADLINE) as server:
                self._sockets.add(server)
                server.settimeout(None)
                head = head.replace(b"\r\nConnection: keep-alive", b"\r\nConnection: close")
                server.sendall(head + b"\r\n\r\n" + body)
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                self._answer(server, client)

    def _read_head(self, client: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            if not more:
                raise ConnectionError
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        return head, body

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on the rest of a body, and that the client has gone."""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        kept = b""
        while data := server.recv(65536):
            if self._buffers:
                kept += data
            else:
                client.sendall(data)
        client.sendall(kept)
        client.shutdown(socket.SHUT_WR)  # to close it would say nothing while another thread reads from it
