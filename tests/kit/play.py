"""Drives the client's generators step by step, without a network."""

import json
from collections.abc import Generator
from typing import Any, Generic, TypeVar

import pytest

from notifier.client.answer import Answer
from notifier.client.errors import NotifierError, Unreachable

URL = "https://notify.example.com"
VERSION = {"notifier-version": "0.1.0"}
Result = TypeVar("Result")


class Play(Generic[Result]):
    """A running generator. `step` is what it has yielded last, `result` what it returned."""

    result: Result

    def __init__(self, steps: Generator[Any, Any, Result]) -> None:
        self._steps = steps
        self.step: Any = next(steps)

    def answer(self, outcome: object = None) -> Any:
        """Send the outcome of the step, and return the next step, or None at the end."""
        try:
            self.step = self._steps.send(outcome)
        except StopIteration as end:
            self.step, self.result = None, end.value
        return self.step


def reason(steps: Generator[Any, Any, Any], status: int) -> NotifierError:
    """Return why a part of the service is not found, if a request for its oldest part is answered with `status`."""
    play = Play(steps)
    while play.step.request.path != "/v1/notifications":
        play.answer(problem(404, "not_found"))
    assert (play.step.request.method, play.step.request.headers) == ("GET", {})
    with pytest.raises(NotifierError) as caught:
        play.answer(problem(status, "some_code"))
    return caught.value


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def reply(status: int = 200, document: object = None, *, lines: list[Any] | None = None, **headers: str) -> Answer:
    """Return an answer of the service."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines) if lines else json.dumps(document).encode()
    return Answer(URL, status, VERSION | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def problem(status: int, code: str, **headers: str) -> Answer:
    """Return a problem."""
    return reply(status, {"status": status, "code": code, "title": code, "request_id": "r-1"}, **headers)


def html(status: int, **headers: str) -> Answer:
    """Return an HTML answer of a proxy."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(URL, status, {"content-type": "text/html"} | names, b"<html>Oops</html>")


def refused() -> Unreachable:
    """Return the outcome of a request to a closed port."""
    return Unreachable(f"Cannot reach {URL}: Connection refused")
