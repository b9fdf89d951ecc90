"""The ledger: what all workers together have granted of each limit."""

from collections.abc import Sequence
from typing import NamedTuple

from notifier.broker.store import Store, require
from notifier.protocol.daily_usage import Amounts

_LIFETIME = 60_000  # ms that a worker's number of connections is remembered


class Spent(NamedTuple):
    """The amount of a rate that a worker has granted to a name."""

    limit: str
    name: str
    amount: float
    per_second: float


class Used(NamedTuple):
    """The amounts of daily quotas that a worker has granted to a name."""

    limit: str
    name: str
    amounts: Amounts


class Held(NamedTuple):
    """How many connections of a name a worker holds."""

    limit: str
    name: str
    number: int


class Ledger:
    """The ledger of one worker, which is called `worker`. Every method may raise `BrokerUnavailable`."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker

    def spend(self, spent: Sequence[Spent]) -> list[float]:
        """Add what was granted, and return the debts of all workers."""
        commands = [
            self._store.call("spend", (self._key(each.limit, each.name),), (each.amount, each.per_second))
            for each in spent
        ]
        return [float(require(reply)) for reply in self._store.carry_out(commands)]

    def count(self, used: Sequence[Used]) -> list[tuple[Amounts, float]]:
        """Add what was used. Return what all workers have used today, and in how many seconds the day ends."""
        commands = [self._store.call("count", (self._key(each.limit, each.name),), each.amounts) for each in used]
        replies = [require(reply) for reply in self._store.carry_out(commands)]
        return [(Amounts(*amounts), left / 1000) for left, *amounts in replies]

    def hold(self, held: Sequence[Held]) -> list[int]:
        """Note how many connections this worker holds, and return how many the others hold."""
        commands = [
            self._store.call("hold", (self._key(each.limit, each.name),), (self._worker, each.number, _LIFETIME))
            for each in held
        ]
        return [int(require(reply)) for reply in self._store.carry_out(commands)]

    def _key(self, limit: str, name: str) -> str:
        return self._store.key("limit", f"{limit}:{name}")
