"""Shares of addresses, in every order of what connections do."""

import itertools
from typing import Any, NamedTuple

import pytest

from notifier.connections.address_shares import ADDRESS_SHARE, AddressShares


class Caller:
    """A connection, as far as its share is concerned."""

    def __init__(self, name: str, address: int | None) -> None:
        self.name = name
        self.address = address

    def __repr__(self) -> str:
        return self.name


class Step(NamedTuple):
    """A step of a connection: it uses an amount, or releases what it uses (0)."""

    connection: Any
    amount: int


def expected(uses: dict[Any, int], share: int) -> Any:
    """Return the connection to close first, computed from all uses, which are in order of age."""
    sums: dict[int, int] = {}
    for connection, amount in uses.items():
        if connection.address is not None:
            sums[connection.address] = sums.get(connection.address, 0) + amount
    beyond = {address: total for address, total in sums.items() if total > share}
    if not beyond:
        return next(iter(uses), None)
    most = max(beyond.values())
    return {next(each for each in uses if each.address == name) for name, total in beyond.items() if total == most}


def test_every_order() -> None:
    """Whatever the order: the oldest of the address that uses most beyond its share comes first, or the oldest."""
    first, second = Caller("first", 1), Caller("second", 1)
    other, uncounted = Caller("other", 2), Caller("uncounted", None)
    steps = [Step(each, 1) for each in (first, second, other, uncounted)]
    steps += [Step(first, 0), Step(other, 3), Step(uncounted, 5)]
    for order in itertools.permutations(steps):
        shares, uses = AddressShares[Any](ADDRESS_SHARE), dict[Any, int]()
        for connection, amount in order:
            if amount:
                shares.use(connection, amount)
                uses[connection] = amount
            else:
                shares.release(connection)
                uses.pop(connection, None)
            right = expected(uses, 1)
            assert shares.first() in (right if isinstance(right, set) else {right}), (order, uses)
            assert shares.is_unfair == isinstance(right, set)
            assert shares.total == sum(uses.values()) and len(shares) == len(uses)
            assert all((each in shares) == (each in uses) for each in (first, second, other, uncounted))


@pytest.mark.parametrize("count", [1, ADDRESS_SHARE, 10 * ADDRESS_SHARE])
def test_what_is_left(count: int) -> None:
    """Nothing is left of addresses whose connections have gone."""
    shares = AddressShares[Any](ADDRESS_SHARE)
    callers: list[Any] = [Caller(str(number), number % 7) for number in range(count)]
    for caller in callers:
        shares.use(caller, 2)
    while caller := shares.first():
        shares.release(caller)
        shares.release(caller)
    assert not len(shares) and not shares.total and not shares.is_unfair
    assert not shares._connections and not shares._sums


def test_connections_without_an_address() -> None:
    """Connections whose address is not counted have no share, however many they are, and are closed by age."""
    shares = AddressShares[Any](3 * ADDRESS_SHARE)
    callers: list[Any] = [Caller(str(number), None if number % 5 else number) for number in range(100)]
    for caller in callers:
        shares.use(caller, 1)
    assert not shares.is_unfair and shares.first() is callers[0]
