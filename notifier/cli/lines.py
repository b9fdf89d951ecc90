"""The lines of a file that `notifier send` publishes, and what to do with files that contain something else."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import click

from notifier.cli.failure import USAGE, Failure
from notifier.client.notification import BATCH_BYTES

_LONGEST_LINE = 16 << 20  # bytes: more than any service accepts
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COMPRESSED = {b"\x1f\x8b": "gunzip -c", b"\x28\xb5\x2f\xfd": "zstd -dc", b"BZh": "bunzip2 -c", b"\xfd7zXZ": "xz -dc"}


class InputFile(click.File):
    """A file to read, or - for stdin."""

    name = "filename"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open the file. A text in its place is probably meant as a title."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message} Is it a text to publish? Then write --title {value!r}.", param, ctx)


def read_lines(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield complete lines, with their line breaks, as soon as they can be read; the last one may have none.

    Raises:
        Failure: the file does not contain one JSON object per line.
    """
    rest, is_first = b"", True
    while data := file.read1(BATCH_BYTES):  # type: ignore[attr-defined]
        if is_first:
            data = _checked(data, file.name)
            is_first = False
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield [line + b"\n" for line in lines]
        if len(rest) > _LONGEST_LINE:
            raise Failure(f"A line has more than {_LONGEST_LINE:,} bytes: a notification must be on one line.", USAGE)
    if rest:
        yield [rest]


def is_json(line: bytes) -> bool:
    """Return whether a line is JSON."""
    try:
        json.loads(line, parse_int=float)  # Python converts whole numbers of at most 4,300 digits
    except (ValueError, RecursionError):
        return False
    return True


def count_of(number: int, one: str, many: str) -> str:
    """Return a number with a noun and its verb, in the singular or the plural."""
    return f"{number} {one if number == 1 else many}"


def _checked(data: bytes, name: str) -> bytes:
    """Return the beginning of a file without a byte order mark.

    Raises:
        Failure: the file is compressed, has another encoding, or is no NDJSON.
    """
    name = "FILE" if name.startswith("<") else name  # of stdin
    for beginning, command in _COMPRESSED.items():
        if data.startswith(beginning):
            raise Failure(f"{name} is compressed: {command} {name} | notifier send - ...", USAGE)
    encoding = _encoding(data)
    if encoding:
        raise Failure(f"{name} is {encoding}: iconv -f {encoding} -t UTF-8 {name} | notifier send - ...", USAGE)
    data = data.removeprefix(_BYTE_ORDER_MARK)
    text = data.strip()
    if b"\r" in text and b"\n" not in text:
        raise Failure(f"{name} has CR as line break: tr '\\r' '\\n' < {name} | notifier send - ...", USAGE)
    first = text.partition(b"\n")[0].strip()
    if first.startswith(b"["):
        raise Failure(f"{name} is a JSON array: jq -c '.[]' {name} | notifier send - ...", USAGE)
    if first == b"{" or (first.startswith(b"{") and b"\n" in text and first.endswith((b"{", b"[", b","))):
        raise Failure(f"{name} has objects of several lines: jq -c . {name} | notifier send - ...", USAGE)
    return data


def _encoding(data: bytes) -> Literal["", "UTF-16", "UTF-16LE", "UTF-16BE"]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if data[1:2] == b"\0":
        return "UTF-16LE"
    return "UTF-16BE" if data[:1] == b"\0" else ""
