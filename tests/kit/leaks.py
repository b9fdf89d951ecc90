"""Secrets in texts that a service has written."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_SECRETS = (
    re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"),  # the header and the claims of a JWT
    re.compile(r"nk_(?:live|test)_\w{11}_\w{8,}"),  # a managed API key, and the beginning of one
)


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Return the secrets in the settings of a service, as they must appear nowhere else."""
    text = _setting(environ, "NOTIFIER_API_KEYS").lstrip()
    keys = set(re.findall(r'"secret": *"([^"]+)"', text) if text.startswith("[") else re.findall(r":([^,\s]+)", text))
    tokens = set(re.split(r"[,\s]+", _setting(environ, "NOTIFIER_TOKEN_SECRETS")))
    others = {_password(environ), environ.get("NOTIFIER_METRICS_KEY", "")}
    return {secret for secret in keys | tokens | others if len(secret) >= 8}


def leaks(text: str, secrets: Iterable[str] = ()) -> list[str]:
    """Return what a text reveals: the secrets, and any token of a user and managed API key."""
    return [secret for secret in secrets if secret in text] + [
        found for kind in _SECRETS for found in kind.findall(text)
    ]


def _setting(environ: Mapping[str, str], name: str) -> str:
    path = environ.get(f"{name}_FILE")
    return Path(path).read_text() if path else environ.get(name, "")


def _password(environ: Mapping[str, str]) -> str:
    try:
        return urlsplit(environ.get("NOTIFIER_REDIS_URL", "")).password or ""
    except ValueError:
        return ""
