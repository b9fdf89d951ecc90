"""The list of revocations: which tokens have been revoked, in the order in which that changed."""

from typing import NamedTuple

import redis

from notifier.broker.store import Store, require
from notifier.errors import TooManyRevocations
from notifier.protocol.share import DEFAULT, Share
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

_PAGE = 1000  # revocations of one answer


class Revoked(NamedTuple):
    """A name, the time in seconds before which its tokens were issued, and until when this is remembered (Unix)."""

    name: str
    before: float
    until: float


class RevocationList:
    """The revocations of all workers, at most `most`. Every method may raise `BrokerUnavailable`.

    A revocation is never removed before it expires: its tokens would be valid again. So nobody may take so much room
    that nothing is left for others, and a tenth is left for the operator; the script `tokens/revoke.lua` has the rule.
    """

    def __init__(self, settings: BrokerSettings, most: int, store: Store) -> None:
        self._settings = settings
        self._most = most
        self._store = store

    def add(self, name: str, before: float, kept: float, share: Share = DEFAULT) -> None:
        """Add a revocation in a share, or extend it. `before` is in Unix seconds, `kept` is for how many seconds.

        With `min_replicas`, a revocation that too few replicas have may be lost, and is not acknowledged.

        Raises:
            TooManyRevocations
        """
        whose = "" if share.is_operator else "1", share.tenant, share.key
        arguments = (name, int(1000 * before), int(1000 * kept), self._most, *whose)
        command = self._store.call("revoke", (self._store.sharded("tokens"),), arguments)
        [reply] = self._store.carry_out([command], self._settings.min_replicas)
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("FULL"):
            metrics.LIMITED.labels("revocations").inc()
            raise TooManyRevocations(_refusal(self._most, share))
        require(reply)

    def since(self, version: int) -> tuple[int, list[Revoked]]:
        """Return some of what has changed since a version, and the version that the caller has then.

        An empty list means that there is nothing more.
        """
        call = self._store.call("revoked", (self._store.sharded("tokens"),), (version, _PAGE))
        reached, *found = require(self._store.carry_out([call])[0])
        return reached, [_revoked(*pair) for pair in zip(found[::2], found[1::2], strict=True)]


def _refusal(most: int, share: Share) -> str:
    if share.is_operator:
        return f"At most {most} revocations are stored."
    whose = "key" if share.key else "tenant"
    return f"This {whose} has used up its share of the {most} revocations that can be stored."


def _revoked(name: bytes, text: bytes) -> Revoked:
    before, until = (int(part) / 1000 for part in text.split(b" ", 2)[:2])
    return Revoked(name.decode(), before, until)
