"""How far a stream has come, and what it drops because it received it already."""

import pytest

from notifier.client.errors import ConfigurationError
from notifier.client.events import Position
from notifier.client.progress import Progress


def test_beginning() -> None:
    """Without a position there is no cursor yet, and everything is new."""
    progress = Progress(None)
    assert progress.position is None
    assert progress.is_new("a", "2000-0")
    assert progress.position == Position("2000-0", ("a",))


def test_repeated() -> None:
    """An id is new once, whatever its cursor is the second time."""
    progress = Progress(None)
    assert progress.is_new("a", "2000-0")
    assert not progress.is_new("a", "2000-1")


def test_resumed() -> None:
    """A progress that continues after a position knows its ids and its cursor."""
    progress = Progress(Position("2000-0", ("a",)))
    assert not progress.is_new("a", "2000-0")
    assert progress.is_new("b", "1999-0")
    assert progress.position == Position("2000-0", ("a", "b"))


def test_never_backwards() -> None:
    """The cursor is the latest one, and an empty text changes nothing."""
    progress = Progress(None)
    for text in ("2000-0", "1999-9", ""):
        progress.reach(text)
    assert str(progress.cursor) == "2000-0"


def test_old_ids() -> None:
    """Ids that cannot be received again are forgotten, and a position has the last ten seconds only."""
    progress = Progress(None)
    for number in range(1, 3000):
        progress.is_new(f"id-{number}", f"{10_000 * number}-0")
    assert progress.position == Position("29990000-0", ("id-2998", "id-2999"))
    assert len(progress._seen) <= 1000


def test_many_ids() -> None:
    """Ids of the last ten seconds are remembered beyond a thousand, but never more than a hundred thousand."""
    progress = Progress(None)
    for number in range(2000):
        progress.is_new(f"id-{number}", f"5000-{number}")
    assert len(progress._seen) == 2000
    for number in range(2000, 101_000):
        progress.is_new(f"id-{number}", f"5000-{number}")
    assert len(progress._seen) == 100_000
    assert progress.position and len(progress.position.seen) == 1000


def test_wrong_cursor() -> None:
    """A `since` that is not a position of a stream is named in the error."""
    with pytest.raises(ConfigurationError, match="since: .*yesterday"):
        Progress(Position("yesterday"))
