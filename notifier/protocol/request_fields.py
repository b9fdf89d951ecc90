"""The fields of request bodies. The lengths of a body's lists are checked before what the lists contain."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from notifier.errors import MalformedJson, Problem
from notifier.protocol import json_shape, json_text
from notifier.protocol.faults import Faults, pointer

_MORE = 200  # values besides those of the lists: fields, and a few too many, which get a pointer

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def read_object(body: bytes, refusal: type[Problem]) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        MalformedJson
        refusal: it has too many levels.
    """
    body = json_text.utf8_of(body)
    json_text.require_flat(body, json_shape.MAX_DEPTH, refusal)
    try:
        return _decode_object(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson(str(error)) from error


def read_fields(body: bytes, known: tuple[str, ...], most: int, faults: Faults) -> dict[str, Any]:
    """Return the fields of a JSON object whose lists may have `most` values together.

    Unknown fields are faults.

    Raises:
        MalformedJson
        Problem: the body has too many levels, or so many more values that it is not decoded.
    """
    if json_shape.has_more_values(body, most + _MORE):
        faults.add("", "too_many", f"At most {most} values in one request.")
        faults.check()
    fields = read_object(body, faults.kind)
    for name in fields:
        if name not in known:
            faults.add(pointer(name), "unknown_field", f"The known fields are {', '.join(known)}.")
    return fields


def read_lists(fields: dict[str, Any], names: tuple[str, ...], most: int, faults: Faults) -> list[list[Any]]:
    """Return the lists in some fields, which may have `most` values together. An absent or a wrong list is empty."""
    lists = [fields.get(name, []) for name in names]
    for at, (name, values) in enumerate(zip(names, lists, strict=True)):
        if not isinstance(values, list):
            faults.add(f"/{name}", "wrong_type", "Expected a list of names.")
            lists[at] = []
    if sum(map(len, lists)) > most:
        where = f"/{names[0]}" if len(names) == 1 else ""
        faults.add(where, "too_many", f"At most {most} in {' and '.join(names)}.")
        return [[] for _ in names]
    return lists


def check_names(field: str, values: Iterable[Any], fault_of: Callable[[str], str | None], faults: Faults) -> None:
    """Check the names or patterns of a list, until there are too many faults."""
    for index, value in enumerate(values):
        if faults.is_full:
            return
        fault = fault_of(value) if isinstance(value, str) else "Expected a string."
        if fault:
            faults.add(f"/{field}/{index}", "invalid_name", fault)
