"""Fuzz one target: `python -m fuzz.one NAME [options of libFuzzer] CORPUS`. Needs atheris."""

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gunicorn.http", "jwt", "notifier", "werkzeug", "wsproto"]):
    from fuzz.targets import TARGETS

FOUND = Path(__file__).parent.parent / ".fuzz"


def main() -> None:
    """Fuzz until libFuzzer ends the process. Inputs on which the target fails are written to `.fuzz/NAME/`."""
    name = sys.argv.pop(1)

    def run(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except Exception:
            (FOUND / name / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
