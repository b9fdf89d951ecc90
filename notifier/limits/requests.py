"""Limits of requests: who sends them, and how many are in flight."""

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ADDRESS, ClientAddresses
from notifier.limits.in_flight import InFlight
from notifier.limits.rates import Name
from notifier.limits.users import UserLimits

_LEAVE = "notifier.leave"  # the key in the environ of what is called when the request ends
Environ = MutableMapping[str, Any]


class RequestLimits:
    """Counts the requests of this worker, from `begin` to `end`."""

    def __init__(self, clients: ClientAddresses, addresses: AddressLimits, users: UserLimits, keys: KeyLimits) -> None:
        self._clients = clients
        self.addresses = addresses
        self._users = users
        self._keys = keys

    def begin(self, environ: Environ) -> None:
        """Note the address of a request, and count it for the address.

        Raises:
            RateLimited
        """
        environ[_LEAVE] = []
        address = environ[ADDRESS] = self._clients.of_request(environ)
        if address is not None:
            self._enter(environ, self.addresses.requests, address)

    def client_of(self, environ: Environ) -> str:
        """Return the address of the client of a request as a text; empty: it is connected by a Unix socket."""
        return self._clients.text_of(environ)

    def end(self, environ: Environ) -> None:
        """Note that a request has ended."""
        leave: list[Callable[[], None]] = environ[_LEAVE]
        for each in leave:
            each()

    def keep(self, environ: Environ) -> Callable[[], None]:
        """Count a request until the returned function is called, also after `end`: its answer is sent in parts."""
        leave: list[Callable[[], None]] = environ[_LEAVE]
        environ[_LEAVE] = []

        def leave_all() -> None:
            while leave:
                leave.pop()()

        return leave_all

    def enter_export(self, environ: Environ, id: str) -> None:
        """Count an export for the API key that asks for it.

        Raises:
            RateLimited
        """
        self._enter(environ, self._keys.exports, id)

    def enter_user(self, environ: Environ, user: str) -> None:
        """Count a request for the user whose token it has.

        Raises:
            RateLimited
        """
        self._enter(environ, self._users.requests, user)

    def enter_key(self, environ: Environ, id: str) -> None:
        """Count a request for the API key that it has.

        Raises:
            RateLimited
        """
        self._enter(environ, self._keys.requests, id)

    def failed(self, environ: Environ) -> None:
        """Count a request whose credentials are not valid.

        Raises:
            RateLimited: They were not valid too often.
        """
        self.addresses.failed(environ.get(ADDRESS))

    def _enter(self, environ: Environ, limit: InFlight, name: Name) -> None:
        if _LEAVE in environ:
            limit.enter(name)
            environ[_LEAVE].append(partial(limit.leave, name))

    def enter_peer(self, peer: Any) -> Callable[[], None]:
        """Count an HTTP connection for the address of its peer, and return what is called when it ends.

        Raises:
            RateLimited
        """
        address = self._clients.of_peer(peer)
        if address is None:
            return _nothing
        self.addresses.peers.enter(address)
        return partial(self.addresses.peers.leave, address)


def _nothing() -> None:
    """Do nothing: the address is not counted."""
