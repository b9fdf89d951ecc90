"""The answer to a batch, while its lines are published: it is sent when all of them are.

Many clients read nothing before they have sent everything. A line of six kilobytes may have an answer of sixty, because
the answer names each channel again with a cursor. Such answers are much alike, and compressed they need about as much
memory as the lines did.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from notifier.loop import give_way

_BLOCK = 65536  # bytes that are compressed, or sent, between two turns of others
_PLAIN = 1 << 20  # bytes that are not compressed: more than a batch of usual notifications needs
_FASTEST = 1


class _Block(NamedTuple):
    data: bytes
    is_compressed: bool


class BatchAnswer:
    """Collects the answers to lines. `hold` is called with the number of bytes by which the memory grows or shrinks."""

    def __init__(self, hold: Callable[[int], object] = lambda size: None) -> None:
        self._hold = hold
        self._blocks: deque[_Block] = deque()
        self._begun: list[bytes] = []  # the block that is not full
        self._begun_size = 0
        self.size = 0  # bytes of the whole answer

    def add(self, line: bytes) -> None:
        """Add the answer to a line."""
        self._begun.append(line)
        self._begun_size += len(line)
        self.size += len(line)
        if self._begun_size >= _BLOCK:
            self._store()

    def parts(self) -> Iterator[bytes]:
        """Yield the answer, and forget each part."""
        self._store()
        while self._blocks:
            data, is_compressed = self._blocks.popleft()
            self._hold(-len(data))
            yield zlib.decompress(data) if is_compressed else data
            give_way()

    def _store(self) -> None:
        data, self._begun, self._begun_size = b"".join(self._begun), [], 0
        for begin in range(0, len(data), _BLOCK):
            block = _Block(data[begin : begin + _BLOCK], is_compressed=False)
            if self.size > _PLAIN:
                block = _Block(zlib.compress(block.data, _FASTEST), is_compressed=True)
                give_way()
            self._blocks.append(block)
            self._hold(len(block.data))
