"""Encoding: entries become the bytes of a framing, each once however many connections are sent it."""

from collections.abc import Iterator

from notifier.protocol import frames
from notifier.protocol.entry import EXPIRED, MUTED, REMOVED, Entry
from notifier.protocol.framing import Framing

_WRITE = 65536  # bytes of frames joined into one write
_CHUNK = 16384  # bytes per write of a replay, so that a connection that blocks leaves little behind

_UNSENT = (EXPIRED, MUTED)
FRAME = 100  # bytes of a frame beside the body, about

Chunk = tuple[bytes, list[tuple[str, Entry]]]  # frames, and the entries in them with their channels


def encode_entry(framing: Framing, channel: str, entry: Entry, replay: bool) -> bytes:
    """Return the frame of an entry; nothing if the entry has expired or is muted."""
    if entry.kind in _UNSENT:
        return b""
    if entry.kind == REMOVED:
        return framing.frame(frames.removed(channel, entry.id, entry.body), entry.id)
    return framing.frame(frames.notification(channel, entry.id, entry.body, replay), entry.id)


def unsent_bytes(chunk: list[tuple[str, Entry]]) -> int:
    """Return how many bytes the entries that have no frame would have had, about."""
    return sum(FRAME + len(entry.body) for _, entry in chunk if entry.kind in _UNSENT)


class Writes(dict[Framing, list[tuple[bytes, bytes]]]):
    """The frames of live entries by framing: few writes take all of them.

    With each write comes the id of its last entry.
    """

    def __init__(self, channel: str, entries: list[Entry]) -> None:
        self._channel = channel
        self._entries = entries

    def __missing__(self, framing: Framing) -> list[tuple[bytes, bytes]]:
        writes = self[framing] = self._join(framing)
        return writes

    def _join(self, framing: Framing) -> list[tuple[bytes, bytes]]:
        writes: list[tuple[list[bytes], bytes]] = []
        size = 0
        for entry in self._entries:
            frame = encode_entry(framing, self._channel, entry, replay=False)
            if not writes or size + len(frame) > _WRITE:
                writes.append(([], entry.id))
                size = 0
            frames, _ = writes[-1]
            frames.append(frame)
            writes[-1] = (frames, entry.id)
            size += len(frame)
        return [(b"".join(frames), last) for frames, last in writes]


class Encoder:
    """Builds each frame of a round of the replayer once per framing."""

    def __init__(self) -> None:
        self._frames: dict[tuple[Framing, str, bytes, bytes, bool], bytes] = {}

    def chunks(self, framing: Framing, entries: list[tuple[str, Entry]]) -> Iterator[Chunk]:
        """Yield entries in chunks of one write each. A frame is built only when its chunk is asked for."""
        frames: list[bytes] = []
        chunk: list[tuple[str, Entry]] = []
        size = 0
        for name, entry in entries:
            frame = self._frame(framing, name, entry)
            if chunk and size + len(frame) > _CHUNK:
                yield b"".join(frames), chunk
                frames, chunk, size = [], [], 0
            frames.append(frame)
            chunk.append((name, entry))
            size += len(frame)
        if chunk:
            yield b"".join(frames), chunk

    def _frame(self, framing: Framing, channel: str, entry: Entry) -> bytes:
        replay = not entry.previous  # it comes from the log
        key = (framing, channel, entry.id, entry.kind, replay)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = encode_entry(framing, channel, entry, replay)
        return frame
