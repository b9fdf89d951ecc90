"""Secrets in texts that a service has written."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}")  # the header and the claims of a JWT


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Return the secrets in the settings of a service, as they must appear nowhere else."""
    text = environ.get("NOTIFIER_API_KEYS", "")
    keys = set(re.findall(r'"secret": *"([^"]+)"', text) if text.startswith("[") else re.findall(r":([^,]+)", text))
    tokens = set(environ.get("NOTIFIER_TOKEN_SECRETS", "").split(","))
    return {secret for secret in keys | tokens | {_password(environ)} if len(secret) >= 8}


def leaks(text: str, secrets: Iterable[str]) -> list[str]:
    """Return what a text reveals: secrets, and tokens of users."""
    return [secret for secret in secrets if secret in text] + _TOKEN.findall(text)


def _password(environ: Mapping[str, str]) -> str:
    try:
        return urlsplit(environ.get("NOTIFIER_REDIS_URL", "")).password or ""
    except ValueError:
        return ""
