"""The shape of JSON that is passed on unread."""

import itertools
import json
import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import json_shape
from tests.kit.cases import rows

JSON = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    """Return the number of levels of a value."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(JSON, st.integers(0, 6))
def test_depth(value: object, most: int) -> None:
    """The depth is that of the value, whatever its strings have in them."""
    assert json_shape.is_deep(json.dumps(value).encode(), most) is (depth_of(value) > most)


@rows("text", ['"' + "[" * 100 + '"', '"' + '\\"[' * 100 + '"', '{"' + "{" * 100 + '":1}'])
def test_brackets_in_strings(text: str) -> None:
    """Brackets in strings do not count as levels."""
    json.loads(text)
    assert not json_shape.is_deep(text.encode(), 1)


@rows("levels", [64, 65])
@rows(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deepest(levels: int, left: str, right: str) -> None:
    """64 levels are the limit."""
    assert json_shape.is_deep((left * levels + "0" + right * levels).encode(), json_shape.MAX_DEPTH) is (levels == 65)


@rows("number", ["0", "-1.5e300", "9" * 308, "-" + "9" * 308, "1e-999", "1.7976931348623157e308"])
@rows("around", ["{}", "[1,{}]", '{{"a":{},"b":2}}'])
def test_numbers(number: str, around: str) -> None:
    """Numbers that fit a double may be sent."""
    assert json_shape.fits_doubles(around.format(number).encode())


@rows("number", ["9" * 309, "9" * 5000, "-" + "9" * 5000, "1e309", "1E+999", "9" * 250 + "e99", "0." + "1" * 400])
@rows("around", ["{}", "[1,{}]", '{{"a":{},"b":2}}', '["\\"",{}]'])
def test_numbers_out_of_range(number: str, around: str) -> None:
    """Numbers that some clients cannot read are refused."""
    assert not json_shape.fits_doubles(around.format(number).encode())


@given(JSON)
def test_everything_else_is_fine(value: object) -> None:
    """A value that Python can write and all of whose numbers fit a double has no fault."""
    text = json.dumps(value)
    sound = all(math.isfinite(float(n)) and len(n) <= 300 for n in _integers(value))
    assert not sound or json_shape.fits_doubles(text.encode())


def _integers(value: object) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [number for item in items for number in _integers(item)]
    return [str(value)] if isinstance(value, int) else []


@rows("text", ['"' * 65_000, '"' + '\\"' * 32_000, "[" * 65_000, "1" * 65_000, '[{"a' * 16_000])
def test_hostile_text_is_read_once(text: str) -> None:
    """Text that is not JSON is read in one pass: a pattern that backtracks would take minutes here."""
    json_shape.is_deep(b"[" * 10 + text.encode(), 9_999_999)
    json_shape.is_deep(text.encode(), 1)
    json_shape.text_of(text, "ref")


@rows(
    "text",
    ["[" + "[]," * 20_000 + "[]]", "[" + "1," * 30_000 + "[]" + ",[]" * 70 + ",1e100]", "[" + "1e100," * 10_000 + "1]"],
)
def test_many_tokens(text: str) -> None:
    """JSON with tens of thousands of brackets or numbers is neither deep nor too large."""
    assert not json_shape.is_deep(text.encode(), 64)
    assert json_shape.fits_doubles(text.encode())
    assert json_shape.text_of(text, "ref") is None


@pytest.mark.parametrize(
    ("text", "is_deep"),
    [
        (b"[" * 1_500_000, True),
        (b'{"a":' + b"[]" * 700_000, True),  # which is no JSON, and has no commas
        (b"[" * 70 + b"]" * 1_500_000, True),
        (b"]" * 1_500_000 + b"[" * 70, False),  # nobody reads beyond the first one
        (b"[" + b",".join([b"[" * 63 + b"]" * 63] * 1000) + b"]", False),
        (b"[" + b",".join([b"[" * 64 + b"]" * 64] * 1000) + b"]", True),
    ],
)
def test_long_bodies(text: bytes, is_deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few brackets are looked at one by one, if few values follow each other."""
    looked_at = []

    def accumulate(steps: memoryview) -> Iterator[int]:
        looked_at.append(len(steps))
        return itertools.accumulate(steps)

    monkeypatch.setattr(json_shape, "itertools", SimpleNamespace(accumulate=accumulate))
    assert json_shape.is_deep(text, 64) is is_deep
    assert sum(looked_at) < 130_000


def test_text_of() -> None:
    """The field of the outer object is found, and no other."""
    deep = "[" * 1000 + '{"ref":"inner"}' + "]" * 1000
    assert json_shape.text_of(f'{{"a":{deep},"x":"ref", "ref" : "outer"}}', "ref") == '"outer"'
    assert json_shape.text_of(f'{{"a":{deep}}}', "ref") is None
    assert json_shape.text_of('{"ref":["no"]}', "ref") is None
    assert json_shape.text_of('["ref",{"ref":"no"}]', "ref") is None
