"""Issuers of tokens: keys of each algorithm, and a local server of their key sets, which may be hostile."""

import base64
import contextlib
import functools
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Serve = Callable[[socket.socket], None]
_numbers = itertools.count(1)


class SigningKey:
    """A key of an issuer. `jwk` is its public half, as in a key set.

    Both are made when they are first needed: an RSA key takes long, and most processes that import a test need none.
    """

    def __init__(self, algorithm: str = "RS256", kid: str | None = None, bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.kid = f"key-{next(_numbers)}" if kid is None else kid
        self._bits = bits

    @functools.cached_property
    def private(self) -> Any:
        """The private key."""
        if self.algorithm in ("RS256", "PS256"):
            return rsa.generate_private_key(65537, self._bits)
        if self.algorithm == "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        return ed25519.Ed25519PrivateKey.generate()

    @functools.cached_property
    def jwk(self) -> dict[str, Any]:
        """The public key."""
        kinds: dict[str, Any] = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm}
        public = kinds.get(self.algorithm, OKPAlgorithm).to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        named = {"kid": self.kid} if self.kid else {}
        return {**public, **named, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a token."""
        headers = ({"kid": self.kid} if self.kid else {}) | header
        return jwt.encode(claims, self.private, self.algorithm, headers=headers)


def key_set(*keys: SigningKey) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": [key.jwk for key in keys]}).encode()


class KeyServer:
    """A server whose answers are `serve`; by default `body` with a status. `requests` counts them."""

    def __init__(self, body: bytes = b'{"keys": []}') -> None:
        self.body = body
        self.status = 200
        self.requests = 0
        self.serve: Serve = self.answer
        self.tls: ssl.SSLContext | None = None
        self.head = b""  # of the last request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/keys"
        threading.Thread(target=self._run, daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        """Send the key set."""
        head = f"HTTP/1.1 {self.status} x\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        connection.sendall(head.encode() + self.body)

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            stream = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with stream:
                self.head = stream.recv(65536)
                self.requests += 1
                self.serve(stream)


@contextlib.contextmanager
def key_server(body: bytes = b'{"keys": []}') -> Iterator[KeyServer]:
    """Run a server of key sets."""
    server = KeyServer(body)
    try:
        yield server
    finally:
        server.close()


def repeating(head: bytes, piece: bytes, pause: float = 0) -> Serve:
    """Return answers that begin with a head and then repeat a piece until the client closes the connection."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            if pause:
                time.sleep(pause)

    return serve


def sending(data: bytes) -> Serve:
    """Return answers that are these bytes."""
    return lambda connection: connection.sendall(data)


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = [  # answers that never end, in each of their parts
    repeating(OK + b"\r\n", b" " * 65536),
    repeating(OK + b"Content-Length: 99999999999\r\n\r\n", b" " * 65536),
    repeating(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 10_000),
    repeating(OK, b"A: b\r\n" * 10_000),
    repeating(OK + b"A: ", b"x" * 65536),
    repeating(b"", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" * 1000),
    repeating(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 10_000),
    repeating(b"", b"\x00" * 65536),
]
SLOW = [  # answers of single bytes, or none
    repeating(b"", b"", 0.05),
    repeating(OK, b"A: b\r\n", 0.05),
    repeating(OK + b"A: ", b"x", 0.05),
    repeating(OK + b"Content-Length: 1000\r\n\r\n", b" ", 0.05),
    repeating(OK + b"\r\n", b" ", 0.05),
    repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
]


def with_claims(token: str, **claims: Any) -> str:
    """Return a token with other claims behind the same signature."""
    head, body, signature = token.split(".")
    known = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(known | claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"
