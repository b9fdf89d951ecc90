"""Fixtures of the limits' tests."""

import pytest


class Clock:
    """A clock that is frozen until `now` is changed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the limits."""
    return Clock()
