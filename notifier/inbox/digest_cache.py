"""The digest cache: the digests that this worker keeps in memory, those used last of each tenant."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from notifier.protocol import tenant as tenants
from notifier.protocol.digest import Digest

OWN_SIZE = 10  # items that a digest counts for, apart from its own: topics that are empty stay no longer than others


class _Kept:
    """The digests of one tenant, the one that was used last at the end, and what each counted for when last settled."""

    __slots__ = ("digests", "size", "sizes")

    def __init__(self) -> None:
        self.digests: OrderedDict[str, Digest] = OrderedDict()
        self.sizes: dict[str, int] = {}
        self.size = 0

    def settle(self, digest: Digest) -> int:
        """Count a digest as it is now; return by how much the size has changed."""
        if self.digests.get(digest.channel) is not digest:
            return 0  # it was evicted while it was read
        size = OWN_SIZE + len(digest)
        change = size - self.sizes.get(digest.channel, 0)
        self.sizes[digest.channel] = size
        self.size += change
        return change

    def evict(self) -> int:
        """Forget the digest that was not used for longest; return what it counted for."""
        channel, _ = self.digests.popitem(last=False)
        size = self.sizes.pop(channel, 0)
        self.size -= size
        return size


class DigestCache:
    """Digests of at most about `most` items. The tenant that has most gives way: it takes nobody else's room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tenants: dict[str, _Kept] = {}
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return (channel for kept in self._tenants.values() for channel in kept.digests)

    def get(self, channel: str) -> Digest:
        """Return the digest of a channel; an empty one if it is not here."""
        tenant = tenants.of_channel(channel)
        kept = self._tenants.get(tenant)
        if kept is None:
            kept = self._tenants[tenant] = _Kept()
        digest = kept.digests.get(channel)
        if digest is None:
            digest = kept.digests[channel] = Digest(channel)
        kept.digests.move_to_end(channel)
        return digest

    def settle(self, digests: Iterable[Digest]) -> None:
        """Count digests that were read, and evict others if all together have too many items."""
        for digest in digests:
            kept = self._tenants.get(tenants.of_channel(digest.channel))
            if kept is not None:
                self._size += kept.settle(digest)
        while self._size > self._most:
            name, kept = max(self._tenants.items(), key=lambda each: each[1].size)
            if len(kept.digests) == 1 == len(self._tenants):
                return
            self._size -= kept.evict()
            if not kept.digests:
                del self._tenants[name]

    def clear(self) -> None:
        """Forget all digests."""
        self._tenants.clear()
        self._size = 0
