"""The list of revocations: which tokens have been revoked, in the order in which that changed."""

from typing import NamedTuple

import redis

from notifier.broker.store import Store, require
from notifier.errors import TooManyRevocations
from notifier.settings import BrokerSettings

MAX_REVOCATIONS = 100_000
MAX_OF_TENANT = 10_000  # of a named one: no tenant takes the room of all others
_PAGE = 1000  # revocations of one answer


class Revoked(NamedTuple):
    """A name, the time in seconds before which its tokens were issued, and until when this is remembered (Unix)."""

    name: str
    before: float
    until: float


class RevocationList:
    """The revocations of all workers. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: BrokerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def add(self, name: str, before: float, kept: float, tenant: str = "") -> None:
        """Add a revocation of a tenant, or extend it. `before` is in Unix seconds, `kept` is for how many seconds.

        With `min_replicas`, a revocation that too few replicas have may be lost, and is not acknowledged.

        Raises:
            TooManyRevocations
        """
        arguments = (name, int(1000 * before), int(1000 * kept), MAX_REVOCATIONS, tenant, MAX_OF_TENANT)
        command = self._store.call("revoke", (self._store.sharded("tokens"),), arguments)
        [reply] = self._store.carry_out([command], self._settings.min_replicas)
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("FULL"):
            most = f"{MAX_REVOCATIONS} revocations" + (f", and {MAX_OF_TENANT} of a tenant" if tenant else "")
            raise TooManyRevocations(f"At most {most} are stored.")
        require(reply)

    def since(self, version: int) -> tuple[int, list[Revoked]]:
        """Return some of what has changed since a version, and the version that the caller has then.

        An empty list means that there is nothing more.
        """
        call = self._store.call("revoked", (self._store.sharded("tokens"),), (version, _PAGE))
        reached, *found = require(self._store.carry_out([call])[0])
        return reached, [_revoked(*pair) for pair in zip(found[::2], found[1::2], strict=True)]


def _revoked(name: bytes, times: bytes) -> Revoked:
    before, until = (int(part) / 1000 for part in times.split())
    return Revoked(name.decode(), before, until)
