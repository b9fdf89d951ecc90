"""Encoding: each frame is built once, and few writes take all of them."""

import pytest

from notifier.delivery import encoding
from notifier.delivery.encoding import Encoder, Writes, encode_entry
from notifier.protocol.entry import EPHEMERAL, EXPIRED, HISTORY, MUTED, NOTIFICATION, REMOVED, Entry
from notifier.protocol.framing import EVENTS, WEBSOCKET
from tests.kit.cases import rows


def entry(ms: int, size: int = 2, previous: bytes = b"1-0", kind: bytes = NOTIFICATION) -> Entry:
    return Entry(b"%d-0" % ms, previous, kind, b"{%b}" % (b" " * (size - 2)))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the ids of the entries whose frames were built."""
    ids: list[bytes] = []

    def note(framing: object, channel: str, entry: Entry, replay: bool) -> bytes:
        ids.append(entry.id)
        return encode_entry(framing, channel, entry, replay)  # type: ignore[arg-type]

    monkeypatch.setattr(encoding, "encode_entry", note)
    return ids


@rows("kind", [NOTIFICATION, HISTORY, EPHEMERAL])
@rows("replay", [False, True])
def test_entry(kind: bytes, replay: bool) -> None:
    """A published entry is a notification frame, which is marked if it is replayed."""
    frame = encode_entry(WEBSOCKET, "all", entry(5, kind=kind), replay)
    assert b'"type":"notification","cursor":"5-0","channel":"all"' in frame
    assert (b'"replay":true' in frame) == replay


def test_other_kinds() -> None:
    """A removal has a frame of its own; entries that have expired or are muted have none."""
    assert b'"type":"removed"' in encode_entry(WEBSOCKET, "all", entry(5, kind=REMOVED), True)
    assert [encode_entry(WEBSOCKET, "all", entry(5, kind=kind), True) for kind in (EXPIRED, MUTED)] == [b"", b""]


class TestWrites:
    def test_one_write(self, built: list[bytes]) -> None:
        """All frames of a framing are one write, and built once."""
        entries = [entry(5), entry(6)]
        writes = Writes("all", entries)
        [(data, last)] = writes[WEBSOCKET]
        assert data == b"".join(encode_entry(WEBSOCKET, "all", each, False) for each in entries)
        assert last == b"6-0"
        assert writes[WEBSOCKET] is writes[WEBSOCKET]
        assert built == [b"5-0", b"6-0"]
        assert writes[EVENTS] != writes[WEBSOCKET]

    def test_several_writes(self) -> None:
        """A write that would be too long is split between entries, and names its last one."""
        writes = Writes("all", [entry(ms, 30_000) for ms in (5, 6, 7)] + [entry(8, 100_000)])
        assert [last for _, last in writes[WEBSOCKET]] == [b"6-0", b"7-0", b"8-0"]


class TestEncoder:
    def test_chunks(self) -> None:
        """A replay is sent in chunks, each returned with its entries."""
        entries = [("all", entry(ms, 6000, b"")) for ms in (5, 6, 7)] + [("topic:a", entry(8, 50_000, b""))]
        chunks = list(Encoder().chunks(WEBSOCKET, entries))
        assert [items for _, items in chunks] == [entries[:2], entries[2:3], entries[3:]]
        assert chunks[0][0] == b"".join(encode_entry(WEBSOCKET, "all", each, True) for _, each in entries[:2])

    def test_nothing(self) -> None:
        """Where there is nothing to send, nothing is written."""
        assert list(Encoder().chunks(WEBSOCKET, [])) == []

    def test_once_for_all(self, built: list[bytes]) -> None:
        """Connections of a round share frames; live entries and those from the log have different ones."""
        encoder = Encoder()
        entries = [("all", entry(5, previous=b"")), ("all", entry(5))]
        first, second = (list(encoder.chunks(WEBSOCKET, entries)) for _ in range(2))
        assert first == second
        assert built == [b"5-0", b"5-0"]
        assert first[0][0].count(b'"replay":true') == 1

    def test_as_far_as_asked_for(self, built: list[bytes]) -> None:
        """Of a connection that blocks, only the frames of what it takes, and one more, are built."""
        entries = [("all", entry(ms, 10_000, b"")) for ms in range(5, 20)]
        next(Encoder().chunks(WEBSOCKET, entries))
        assert built == [b"5-0", b"6-0"]
