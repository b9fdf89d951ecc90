"""Development mode: an API key and a token secret, generated once and stored in the data directory."""

import secrets
from collections.abc import MutableMapping
from pathlib import Path

from notifier.server.data_directory import prepare

API_KEY_FILE, TOKEN_SECRET_FILE, ADDRESS_FILE = "api-key", "token-secret", "address"


def provide_secrets(data_dir: Path, environ: MutableMapping[str, str]) -> None:
    """Set the API key and the token secret in an environment, unless it has them.

    Raises:
        DirectoryError: other users can write to the directory.
    """
    prepare(data_dir)
    if not environ.get("NOTIFIER_API_KEYS") and not environ.get("NOTIFIER_API_KEYS_FILE"):
        key = _kept(data_dir / API_KEY_FILE, "nk_dev_" + secrets.token_urlsafe(18))
        environ["NOTIFIER_API_KEYS"] = f"dev:{key}"
    if not environ.get("NOTIFIER_TOKEN_SECRETS") and not environ.get("NOTIFIER_TOKEN_SECRETS_FILE"):
        environ["NOTIFIER_TOKEN_SECRETS"] = _kept(data_dir / TOKEN_SECRET_FILE, secrets.token_urlsafe(36))


def store_address(data_dir: Path, bind: str) -> None:
    """Store the address of the service in the data directory, where commands look for it."""
    host, _, port = bind.rpartition(":")
    if bind.startswith("unix:"):
        (data_dir / ADDRESS_FILE).unlink(missing_ok=True)
    else:
        host = "127.0.0.1" if host in ("", "0.0.0.0", "[::]") else host
        (data_dir / ADDRESS_FILE).write_text(f"{host}:{port}\n")


def _kept(path: Path, fresh: str) -> str:
    """Return the contents of a file. A file that does not exist is created with `fresh`."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(fresh + "\n")
    return path.read_text().strip()
