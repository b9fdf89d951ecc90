"""Client addresses: which address a request counts for."""

import functools
from collections.abc import Mapping
from typing import Any

from notifier.protocol import forwarded
from notifier.protocol.forwarded import Hop, Proxies

ADDRESS = "notifier.address"  # the key of the address in the environ of a request
_REMEMBERED = 4096  # peers


class ClientAddresses:
    """Finds the address of the client of each request.

    An address is a number for what is counted together, or None if it is not counted. Without trusted proxies, the
    peers of a Unix socket, of this machine and of private networks are not counted: they may be proxies, and stand for
    many clients.
    """

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._of_peer = functools.lru_cache(_REMEMBERED)(self._find_peer)

    def of_request(self, environ: Mapping[str, Any]) -> int | None:
        """Return the address that a request counts for."""
        peer, is_trusted, unit = self._of_peer(environ.get("REMOTE_ADDR", ""))
        if not is_trusted:
            return unit
        given, listed = environ.get("HTTP_FORWARDED"), environ.get("HTTP_X_FORWARDED_FOR")
        if given is None and listed is None:
            return None  # it is a request of the proxy itself
        return forwarded.unit_of(forwarded.client_of(peer, given, listed, self._proxies))

    def text_of(self, environ: Mapping[str, Any]) -> str:
        """Return the address of the client of a request; empty: it is connected by a Unix socket."""
        peer, _, _ = self._of_peer(environ.get("REMOTE_ADDR", ""))
        given, listed = environ.get("HTTP_FORWARDED"), environ.get("HTTP_X_FORWARDED_FOR")
        client = forwarded.client_of(peer, given, listed, self._proxies)
        return "" if client is None else str(client)

    def of_peer(self, address: Any) -> int | None:
        """Return the address that a connection counts for before its first request."""
        _, is_trusted, unit = self._of_peer(address[0] if isinstance(address, tuple) else "")
        return None if is_trusted else unit

    def _find_peer(self, text: str) -> tuple[Hop, bool, int | None]:
        peer = forwarded.read_peer(text)
        is_counted = bool(self._proxies) or (peer is not None and peer.is_global)
        return peer, self._proxies.trusts(peer), forwarded.unit_of(peer) if is_counted else None
