"""Files with secrets: an alternative to variables, which other programs of the same user can see.

Errors are `ValueError`s whose text ends a sentence that begins with the name of the setting. They contain no secret.
"""

import stat
from pathlib import Path

_LONGEST = 1 << 20  # bytes


def read(path: Path) -> str:
    """Return the text of a file as the variable would have it. Lines that are not JSON are parts of a list.

    Lines that begin with # and empty ones do not count.

    Raises:
        ValueError: the file cannot be read, or other users can write to it.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_mode & stat.S_IWOTH:
                raise ValueError(f"names a file that every user can write to: run chmod o-w {path}")
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {path}: {error.strerror}") from None
    try:
        text = data.decode() if len(data) <= _LONGEST else ""
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        raise ValueError(f"names a file that is empty, too long, or not UTF-8: {path}")
    if text.lstrip().startswith("["):
        return text
    return ",".join(line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))


def is_exposed(path: Path) -> bool:
    """Return whether every user of the machine can read a file."""
    return bool(path.stat().st_mode & stat.S_IROTH)
