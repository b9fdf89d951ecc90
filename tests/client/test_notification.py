"""Batches: every line keeps its key, however lines are cut into requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.client.errors import ProblemError
from notifier.client.notification import BATCH_BYTES, BATCH_LINES, Batch, Batcher, block, encode, read_data
from tests.kit.cases import rows


def batches(notifications: list[bytes]) -> list[Batch]:
    """Return all batches of a job."""
    batcher = Batcher("job")
    return [batch for item in notifications for batch in batcher.add(item)] + list(batcher.rest())


def keys(batch: Batch) -> list[tuple[str, int]]:
    """Return under which key and number the service sees the lines of a batch."""
    return [(batch.key, number) for number, line in enumerate(batch.body().split(b"\n"), 1) if line]


@given(st.lists(st.integers(1, 200_000), max_size=30))
def test_within_limits(sizes: list[int]) -> None:
    """No batch is too large or too long, and nothing is left out."""
    lines = [b"x" * size for size in sizes]
    cut = batches(lines)
    assert [line for batch in cut for line in batch.lines] == lines
    assert all(len(batch.body()) <= BATCH_BYTES + BATCH_LINES for batch in cut)


def test_blocks() -> None:
    """The key of a line follows from its number alone."""
    cut = batches([b"x" * 3000] * 2500)
    seen = [key for batch in cut for key in keys(batch)]
    assert len(cut) > 3
    assert seen == [(f"job:{number // BATCH_LINES}", number % BATCH_LINES + 1) for number in range(2500)]
    assert block("job", 1234) == ("job:1", 234)


def test_halves() -> None:
    """In two requests each line has the same key as in one."""
    whole = Batch("job:0", [b"a", b"b", b"c"], 5)
    first, second = whole.parts(1)
    assert keys(first) + keys(second) == keys(whole)


@rows("line", [b"", b"  \n", b'{"a":\n1}', b'{"a":\r1}'])
def test_bytes_are_a_line(line: bytes) -> None:
    """Bytes that would not be one line are refused."""
    with pytest.raises(ProblemError):
        encode(line)


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@rows(
    ("data", "pointer", "code"),
    [
        (10**5000, "/data", "number_out_of_range"),
        ({"a": [-(10**5000)]}, "/data", "number_out_of_range"),
        (nested(100_000), "", "too_deep"),
    ],
)
def test_what_python_cannot_write(data: object, pointer: str, code: str) -> None:
    """The problem is the one that the service answers with."""
    with pytest.raises(ProblemError) as caught:
        encode({"to": {"all": True}, "data": data})
    assert (caught.value.status, caught.value.code) == (422, "invalid_notification")
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(pointer, code)]


@rows(
    ("text", "code"),
    [
        ("9" * 5000, "number_out_of_range"),
        ("9" * 309, "number_out_of_range"),
        ("1e400", "number_out_of_range"),
        ('{"a": [-1e400]}', "number_out_of_range"),
        ("[" * 65 + "]" * 65, "too_deep"),
        ("[" * 5000 + "]" * 5000, "too_deep"),
    ],
)
def test_data_that_is_rejected(text: str, code: str) -> None:
    """JSON that the service would reject is rejected for the same reason."""
    with pytest.raises(ProblemError) as caught:
        read_data(text)
    assert [fault.code for fault in caught.value.faults] == [code]


@rows("text", ["", "NaN", "-Infinity", "[Infinity]", "text", "{half", "[" * 60, "\udcff"])
def test_no_json(text: str) -> None:
    """Text that is no JSON, and what only Python takes for JSON, is a ValueError."""
    with pytest.raises(ValueError):
        read_data(text)


def test_data() -> None:
    """All other JSON is read."""
    assert read_data(' {"a": [1, 2.5, "9", null]}\n') == {"a": [1, 2.5, "9", None]}
    assert read_data("9" * 308) == int("9" * 308)
    assert read_data("[" * 64 + "]" * 64) == nested(64)


def test_encoding() -> None:
    """Members are written as they are, bytes are taken as they are."""
    assert encode({"title": "grüße"}) == '{"title":"grüße"}'.encode()
    assert encode(b' {"title": "x"}\n') == b'{"title": "x"}'
