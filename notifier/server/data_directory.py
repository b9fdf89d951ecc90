"""The data directory: only its owner can read what is in it."""

from pathlib import Path

_MODES = {"appendonlydir": 0o700, "valkey.log": 0o600, "api-key": 0o600, "token-secret": 0o600}  # what has secrets
_OURS = {*_MODES, "valkey.sock", "lock", "address"}


class DirectoryError(RuntimeError):
    """The directory cannot be used; the text says what to do."""


def prepare(directory: Path) -> None:
    """Create a data directory, or take the permissions of others from one that exists and from its files.

    A directory that also has other files keeps its mode, because others may need these.

    Raises:
        DirectoryError: others can write to it, so what is in it could be theirs.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_mode & 0o022:
        raise DirectoryError(
            f"Other users can write to {directory}: run chmod 700 on it, or set NOTIFIER_DATA_DIR to another one."
        )
    if {path.name for path in directory.iterdir()} <= _OURS:
        directory.chmod(0o700)
    for name, mode in _MODES.items():
        if (directory / name).exists():
            (directory / name).chmod(mode)
