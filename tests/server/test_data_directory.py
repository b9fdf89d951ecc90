"""The data directory: who may read what is in it."""

from pathlib import Path

import pytest

from notifier.server.data_directory import DirectoryError, prepare
from notifier.server.development import provide_secrets


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_new(tmp_path: Path) -> None:
    """A new directory is for its owner only."""
    prepare(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_older(tmp_path: Path) -> None:
    """A directory of the service alone that others may enter is closed, and so are its files."""
    directory = tmp_path / "data"
    (directory / "appendonlydir").mkdir(parents=True)
    for name in ("valkey.log", "api-key", "token-secret"):
        (directory / name).touch(0o644)
    directory.chmod(0o755)
    prepare(directory)
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == {
        "appendonlydir": 0o700,
        "valkey.log": 0o600,
        "api-key": 0o600,
        "token-secret": 0o600,
    }


def test_with_other_files(tmp_path: Path) -> None:
    """A directory that others may need stays open; the files of the service do not."""
    tmp_path.chmod(0o755)
    (tmp_path / "index.html").touch(0o644)
    (tmp_path / "api-key").touch(0o644)
    prepare(tmp_path)
    assert (mode(tmp_path), mode(tmp_path / "index.html"), mode(tmp_path / "api-key")) == (0o755, 0o644, 0o600)


@pytest.mark.parametrize("given", [0o777, 0o770, 0o1777])
def test_writable(tmp_path: Path, given: int) -> None:
    """A directory that others may write to is rejected, in development mode, too."""
    tmp_path.chmod(given)
    with pytest.raises(DirectoryError, match="chmod 700"):
        prepare(tmp_path)
    with pytest.raises(DirectoryError, match="chmod 700"):
        provide_secrets(tmp_path, {})


def test_development(tmp_path: Path) -> None:
    """The secrets of development mode are for their owner only."""
    environ: dict[str, str] = {}
    provide_secrets(tmp_path / "data", environ)
    assert {path.name: mode(path) for path in (tmp_path / "data").iterdir()} == {
        "api-key": 0o600,
        "token-secret": 0o600,
    }
    assert environ["NOTIFIER_API_KEYS"].startswith("dev:nk_dev_")
