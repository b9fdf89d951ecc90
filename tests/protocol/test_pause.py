"""Pauses after failures."""

from notifier.protocol.pause import LONGEST, Pause


def test_growing() -> None:
    """Each pause is twice as long as the one before, up to the longest; it never becomes shorter."""
    pause = Pause()
    assert pause.left(0.0) == 0.0
    lengths = []
    for _ in range(2000):
        pause.lengthen(100.0)
        lengths.append(pause.left(100.0))
    assert lengths[:4] == [1, 2, 4, 8] and lengths == sorted(lengths) and lengths[-1] == LONGEST
    assert pause.left(100.0 + LONGEST - 1) == 1.0 and pause.left(100.0 + LONGEST) == 0.0
