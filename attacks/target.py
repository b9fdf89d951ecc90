"""The target: a service under attack, as its attackers see it."""

import http.client
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self

from tests.kit.service import Service
from tests.kit.waiting import DEADLINE

OTHERS = None  # the attacker that has the address of the other clients


class Target(NamedTuple):
    """A service. `token` is that of the attackers' user, `key` an API key: some attackers are backends.

    Each attacker has a number and an address of its own, any of 127.0.0.0/8. Those are not counted, so that no limit
    per address acts. If the target `is_proxied`, attackers say which address they have, as a trusted proxy would.
    """

    port: int
    token: str
    key: str
    is_proxied: bool = False

    @classmethod
    def of(cls, service: Service, is_proxied: bool = False) -> Self:
        """Return a service as a target. With `is_proxied` it must trust 127.0.0.0/8."""
        token = service.token("attacker", ["*"], publish=["room", "new-*"])
        return cls(service.port, token, service.api_key, is_proxied)

    def headers(self, number: int | None) -> dict[str, str]:
        """Return the headers that a proxy would add to the requests of an attacker."""
        if not self.is_proxied:
            return {}
        return {"X-Forwarded-For": "203.0.113.1" if number is OTHERS else f"198.18.{number // 250}.{1 + number % 250}"}

    def connect(self, number: int | None, receive_buffer: int = 0) -> socket.socket:
        """Open a connection of an attacker. With a `receive_buffer`, few bytes fit between the service and it."""
        sock = socket.socket()
        sock.settimeout(DEADLINE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind(("127.0.0.1" if number is OTHERS else f"127.0.{number // 250}.{2 + number % 250}", 0))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def filled(self, data: bytes, number: int | None) -> bytes:
        """Return the bytes of an attack for an attacker, with its token, its headers, or the key."""
        lines = "".join(f"{name}: {text}\r\n" for name, text in self.headers(number).items())
        for name, text in (("token", self.token), ("key", self.key), ("headers", lines)):
            data = data.replace(f"<{name}>".encode(), text.encode())
        return data

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        number: int = 0,
    ) -> tuple[int, bytes]:
        """Return the status and the body of the answer to a request of an attacker."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.connect(number)
        try:
            connection.request(method, path, body, {**self.headers(number), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}
