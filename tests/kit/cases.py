"""Many small cases of one rule as one test, where each alone would cost more to collect and report than to run."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Test = Callable[..., None]
_Row = type(pytest.param())


def every(**arguments: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test with each combination of these arguments. It fails once all were tried, and names those that failed.

    The combinations share the fixtures of the test, so it must leave nothing behind that another would see.
    """
    return _joined([dict(zip(arguments, values, strict=True)) for values in itertools.product(*arguments.values())])


def rows(names: str | Sequence[str], table: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test with each row of a table, which is written as for `pytest.mark.parametrize`. See `every`."""
    split = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    cases = []
    for row in table:
        values = row.values if isinstance(row, _Row) else row if len(split) > 1 else (row,)
        cases.append(dict(zip(split, values, strict=True)))
    return _joined(cases)


def _joined(cases: list[dict[str, Any]]) -> Callable[[Test], Test]:
    assert cases, "there is nothing to try"

    def joined(test: Test) -> Test:
        @functools.wraps(test)
        def try_each(*args: Any, **fixtures: Any) -> None:
            failures: list[tuple[dict[str, Any], BaseException]] = []
            for case in cases:
                try:
                    test(*args, **fixtures, **case)
                except (Exception, pytest.fail.Exception) as error:
                    failures.append((case, error))
            if failures:
                lines = [f"{_name(case)}: {type(error).__name__}: {error}" for case, error in failures]
                text = "\n\n".join([f"{len(failures)} of {len(cases)} cases fail.", *lines])
                raise AssertionError(text) from failures[0][1]

        signature = inspect.signature(test)
        assert cases[0].keys() <= signature.parameters.keys()
        others = [parameter for name, parameter in signature.parameters.items() if name not in cases[0]]
        try_each.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return try_each

    return joined


def _name(case: dict[str, Any]) -> str:
    return ", ".join(f"{name}={repr(value)[:80]}" for name, value in case.items())
