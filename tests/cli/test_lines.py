"""Files that contain no NDJSON, and their errors."""

import gzip
import io
from typing import Any

import pytest

from notifier.cli.failure import USAGE, Failure
from notifier.cli.lines import count_of, is_json, read_lines
from tests.kit.cases import rows

LINES = b'{"title":"a"}\n{"title":"b"}\n'


class Input(io.BytesIO):
    """A file that is read in small pieces."""

    name = "orders.ndjson"

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(20)


def read(data: bytes, name: str = "orders.ndjson") -> list[bytes]:
    file: Any = Input(data)
    file.name = name
    return [line for lines in read_lines(file) for line in lines]


@rows("data", [LINES, LINES[:-1], LINES.replace(b"\n", b"\r\n"), b"\n" + LINES, b"", b"nonsense\n"])
def test_lines(data: bytes) -> None:
    """Lines keep their line breaks; a byte order mark is dropped."""
    assert b"".join(read(data)) == b"".join(read(b"\xef\xbb\xbf" + data)) == data


@rows(
    ("data", "cure"),
    [
        (LINES.decode().encode("utf-16"), "iconv -f UTF-16 -t UTF-8 orders.ndjson |"),
        (LINES.decode().encode("utf-16-le"), "iconv -f UTF-16LE"),
        (LINES.decode().encode("utf-16-be"), "iconv -f UTF-16BE"),
        (gzip.compress(LINES, mtime=0), "gunzip -c orders.ndjson |"),
        (b"\x28\xb5\x2f\xfd...", "zstd -dc"),
        (b'{"a":1}\r{"a":2}\r', "tr '\\r' '\\n' < orders.ndjson |"),
        (b'[{"a":1},{"a":2}]', "jq -c '.[]' orders.ndjson |"),
        (b'\xef\xbb\xbf [\n  {"a":1}\n]\n', "jq -c '.[]'"),
        (b'{\n  "title": "a"\n}\n', "jq -c . orders.ndjson |"),
        (b'{"title": "a",\n "body": "b"}\n', "jq -c ."),
    ],
)
def test_other_files(data: bytes, cure: str) -> None:
    """The failure names a command that makes NDJSON of the file."""
    with pytest.raises(Failure) as caught:
        read(data)
    assert cure in caught.value.message
    assert caught.value.exit_code == USAGE


def test_stdin() -> None:
    """Of stdin the name of the file is not known."""
    with pytest.raises(Failure, match="FILE is a JSON array: jq -c '.\\[\\]' FILE"):
        read(b"[]", "<stdin>")


@rows(("line", "is_whole"), [(b"{}", True), (b"9" * 5000, True), (b"{", False), (b"[" * 9999, False)])
def test_json(line: bytes, is_whole: bool) -> None:
    """Long numbers are JSON."""
    assert is_json(line) is is_whole


def test_counts() -> None:
    """One is singular."""
    assert [count_of(n, "line is", "lines are") for n in (0, 1, 2)] == ["0 lines are", "1 line is", "2 lines are"]
