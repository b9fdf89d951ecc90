"""Small files in which a command stores its state for the next run."""

import json
import os
from pathlib import Path
from typing import Any

from notifier.cli.failure import FILE, Failure, file_failure


def load(path: Path, what: str) -> Any:
    """Return the document in a file. `what` names the file in errors.

    Raises:
        Failure: the file cannot be read, or is not such a file.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise file_failure(f"The {what} {path} cannot be read", error) from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is not a {what} of this command: use another one.", FILE) from error


def save(path: Path, what: str, document: Any) -> None:
    """Replace a file atomically: after a crash it is either the old or the new one.

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
        more = "Free disk space or use another file, and run the same command again."
        raise file_failure(f"The {what} {path} cannot be written", error, more) from error
