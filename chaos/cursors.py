"""Cursors, as the clients of the harness compare them."""

Cursor = tuple[int, int]

OVERLAP = 2000  # ms by which entries of different channels may be out of order, and which a replay sends again


def cursor_of(text: str) -> Cursor:
    """Return a cursor as two numbers, which compare like cursors."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)
