"""Small files that a command keeps for its next run."""

import json
import os
from pathlib import Path
from typing import Any

from notifier.cli.failure import FILE, Failure, file_failure


def load(path: Path, what: str) -> Any:
    """Return what a file has.

    Raises:
        Failure: it cannot be read, or is something else.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise file_failure(f"The {what} {path} cannot be read", error) from error
    except ValueError as error:
        raise Failure(f"{path} is no {what} of this command: give another one.", FILE) from error


def save(path: Path, what: str, document: Any) -> None:
    """Replace a file as a whole: whatever happens, either the old or the new one is there.

    Raises:
        Failure
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        more = "Make room or give another one, and run the same command again."
        raise file_failure(f"The {what} {path} cannot be written", error, more) from error
