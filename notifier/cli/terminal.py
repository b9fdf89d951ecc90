"""What a terminal shows: texts of a service, of which nothing may be interpreted."""


def printable(text: str) -> str:
    """Return a text without control characters, which a terminal would interpret."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
