"""Bodies of requests as gunicorn reads them, with turns of others in between.

gevent lets others have a turn only when a socket has nothing to read. A client that sends faster than it is read would
stop the worker, and no timeout would expire.
"""

from typing import Any

from gunicorn.http.body import ChunkedReader

from notifier.loop import give_way

# Bytes of a body that are received at once: the rest waits in the kernel. gunicorn's own is a megabyte, which each of
# thousands of requests would have in memory while it reads 64 KB at a time.
MAX_RECEIVED = 65536
_CHUNKS = 16  # between two turns of others: a chunk of one byte takes as long as one of 8 KB
_REST = 65536  # bytes that are discarded between two turns of others


class FairReader(ChunkedReader):  # type: ignore[misc]
    """Reads a body in chunks."""

    def __init__(self, req: Any, unreader: Any) -> None:
        super().__init__(req, unreader)
        self._chunks = 0

    def parse_chunk_size(self, unreader: Any, data: Any = None) -> Any:
        """Read the size of the next chunk."""
        self._chunks += 1
        if not self._chunks % _CHUNKS:
            give_way()
        return super().parse_chunk_size(unreader, data)


def discard_rest(parser: Any, deadline: Any = None, max_bytes: Any = None) -> bool:
    """Discard what the application has not read of a body; return whether the next request begins after it.

    gunicorn's own takes a kilobyte at a time of up to a megabyte that has arrived, and copies the rest each time. It
    also answers a body that it cannot read, although the request already has an answer. The timeout for the next head
    limits this.
    """
    body = getattr(parser.mesg, "body", None)
    try:
        while body is not None and not body.failed and body.read(_REST):
            give_way()
    except Exception:  # of many kinds, as in `notifier.http.body`
        return False
    return body is None or not body.failed
