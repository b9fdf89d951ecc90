"""Limits of requests: who sends them, and how many are in flight."""

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ADDRESS, ClientAddresses
from notifier.limits.in_flight import InFlight
from notifier.limits.name import Name
from notifier.limits.responses import KEY, STRANGERS, USER, Held, Holder, ResponseMemory
from notifier.limits.users import UserLimits

_LEAVE = "notifier.leave"  # the key in the environ of what is called when the request ends
_HOLDER, _HELD = "notifier.holder", "notifier.held"  # the keys of whose response it is, and of what that holds
_SOCKET = "gunicorn.socket"  # the key of the socket; that of this service's worker has a method `cut`
Environ = MutableMapping[str, Any]


class RequestLimits:
    """Counts the requests of this worker, from `begin` to `end`: until their responses have been written or failed."""

    def __init__(
        self,
        clients: ClientAddresses,
        addresses: AddressLimits,
        users: UserLimits,
        keys: KeyLimits,
        responses: ResponseMemory,
    ) -> None:
        self._clients = clients
        self._responses = responses
        self.addresses = addresses
        self._users = users
        self._keys = keys

    def begin(self, environ: Environ) -> None:
        """Note the address of a request, and count it for the address.

        Raises:
            RateLimited
        """
        environ[_LEAVE] = []
        address = environ[ADDRESS] = self.address_of(environ)
        if address is not None:
            self._enter(environ, self.addresses.requests, address)

    def address_of(self, environ: Mapping[str, Any]) -> int | None:
        """Return the address that a request counts for."""
        return self._clients.of_request(environ)

    def has_room(self, peer: Any, address: int | None, user: str | None) -> bool:
        """Return whether a connection of a peer, and a request of an address and of a user, may begin now.

        This counts nothing. `address` and `user` are None if nothing is counted for them.
        """
        of_peer = self._clients.of_peer(peer)
        return (
            (of_peer is None or self.addresses.peers.has_room(of_peer))
            and (address is None or self.addresses.requests.has_room(address))
            and (user is None or self._users.requests.has_room(user))
        )

    def client_of(self, environ: Environ) -> str:
        """Return the address of the client of a request as a text; empty: it is connected by a Unix socket."""
        return self._clients.text_of(environ)

    def end(self, environ: Environ) -> None:
        """Note that a request has ended. It may be called again, or for a request that has not begun."""
        leave: list[Callable[[], None]] = environ.pop(_LEAVE, [])
        for each in leave:
            each()
        held = environ.pop(_HELD, None)
        if held is not None:
            self._responses.forget(held)

    def send(self, environ: Environ, size: int) -> None:
        """Count so many bytes of a response that are in memory until `sent`. Older responses may be cut off."""
        if _LEAVE in environ:  # otherwise it has ended, and nothing would be forgotten
            self._responses.send(self._held(environ), size)

    def sent(self, environ: Environ, size: int) -> None:
        """Count bytes that were sent."""
        self._responses.sent(self._held(environ), size)

    def hold(self, environ: Environ, size: int) -> None:
        """Count so many bytes of a response that are in memory and not sent yet; a negative number: that many fewer."""
        if size < 0:
            self._responses.remove(self._held(environ), -size)
        elif _LEAVE in environ:
            self._responses.add(self._held(environ), size)

    def receive(self, environ: Environ, size: int) -> None:
        """Count so many bytes of a body that are in memory; a negative number: that many fewer.

        Raises:
            RateLimited
        """
        if size > 0:
            self.require_response_room(environ)
        self.hold(environ, size)

    def require_response_room(self, environ: Environ) -> None:
        """Check that the response of a request may become longer.

        Raises:
            RateLimited
        """
        self._responses.require_room(self._held(environ))

    def _held(self, environ: Environ) -> Held:
        held = environ.get(_HELD)
        if held is None:
            cut = getattr(environ.get(_SOCKET), "cut", _nothing)
            held = environ[_HELD] = Held(environ.get(_HOLDER, STRANGERS), cut)
        return held

    def enter_export(self, environ: Environ, load: str) -> None:
        """Count an export for the API key that asks for it, by the name of its load.

        Raises:
            RateLimited
        """
        self._enter(environ, self._keys.exports, load)

    def enter_user(self, environ: Environ, user: str) -> None:
        """Count a request for the user whose token it has.

        Raises:
            RateLimited
        """
        self._enter(environ, self._users.requests, user)
        environ[_HOLDER] = Holder(USER, user)

    def enter_key(self, environ: Environ, load: str) -> None:
        """Count a request for the API key that it has, by the name of its load.

        Raises:
            RateLimited
        """
        self._enter(environ, self._keys.requests, load)
        environ[_HOLDER] = Holder(KEY, load)

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
    """Do nothing: the address is not counted, or there is no connection."""
