"""Cursors, as the clients of the harness compare them."""

Cursor = tuple[int, int]


def cursor_of(text: str) -> Cursor:
    """Return a cursor as two numbers, which compare like cursors."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)
