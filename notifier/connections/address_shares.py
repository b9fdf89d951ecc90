"""Shares of addresses: how much of something each connection uses, and which one is closed when all of it is used.

That is the oldest connection, unless an address uses more than its share: then it is the oldest one of the address
that uses most. So a client with one address displaces its own connections and not those of others. Connections whose
address is not counted may be those of many clients behind a proxy: they have no share, and are closed by age only.
"""

from typing import Generic, Protocol, TypeVar

ADDRESS_SHARE = 16  # an address may use one part of so many before it is the first to lose connections


class Counted(Protocol):
    """A connection. Its `address` is None if it is not counted."""

    @property
    def address(self) -> int | None:
        """What is counted together."""


C = TypeVar("C", bound=Counted)


class AddressShares(Generic[C]):
    """The use of something of which there is `whole`, by connections in the order in which they began to use it."""

    def __init__(self, whole: int) -> None:
        self._share = max(whole // ADDRESS_SHARE, 1)
        self._uses: dict[C, int] = {}
        self._connections: dict[int, dict[C, None]] = {}  # by address
        self._sums: dict[int, int] = {}  # by address
        self._beyond: set[int] = set()  # addresses beyond their share: few, since their sum is about the whole
        self.total = 0

    def __len__(self) -> int:
        return len(self._uses)

    def __contains__(self, connection: C) -> bool:
        return connection in self._uses

    def use(self, connection: C, amount: int) -> None:
        """Note how much a connection uses now."""
        more = amount - self._uses.get(connection, 0)
        self._uses[connection] = amount
        self.total += more
        if connection.address is not None:
            self._connections.setdefault(connection.address, {})[connection] = None
            self._add(connection.address, more)

    def release(self, connection: C) -> None:
        """Note that a connection uses nothing any more."""
        if connection not in self._uses:
            return
        amount, address = self._uses.pop(connection), connection.address
        self.total -= amount
        if address is None:
            return
        self._add(address, -amount)
        del self._connections[address][connection]
        if not self._connections[address]:
            del self._connections[address], self._sums[address]

    @property
    def is_unfair(self) -> bool:
        """Whether an address uses more than its share."""
        return bool(self._beyond)

    def first(self) -> C | None:
        """Return the connection to close first; None: there is none."""
        if not self._beyond:
            return next(iter(self._uses), None)
        greatest = max(self._beyond, key=self._sums.__getitem__)
        return next(iter(self._connections[greatest]))

    def _add(self, address: int, more: int) -> None:
        total = self._sums[address] = self._sums.get(address, 0) + more
        if total > self._share:
            self._beyond.add(address)
        else:
            self._beyond.discard(address)
