"""Fuzz one target: `python -m fuzz.one NAME [options of libFuzzer] CORPUS`. Needs atheris."""

import sys

import atheris

with atheris.instrument_imports(include=["notifier"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
