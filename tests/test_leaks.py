"""The search for secrets in logs, which every service of the tests undergoes at its end."""

from pathlib import Path

import jwt

from notifier.protocol import key_text
from tests.kit.cases import rows
from tests.kit.leaks import leaks, secrets_of

SECRET = "a-secret-that-signs-and-verifies"
MANAGED = key_text.new_text(key_text.new_id(b"\x01" * key_text.ID_BYTES), b"\x02" * key_text.SECRET_BYTES)
ENVIRON = {
    "NOTIFIER_API_KEYS": "shop:nk_live_of_the_shop,other:nk_live_of_another",
    "NOTIFIER_TOKEN_SECRETS": f"{SECRET},the-second-secret-of-a-rotation",
    "NOTIFIER_REDIS_URL": "redis://user:pass-word@redis.example/0",
    "NOTIFIER_METRICS_KEY": "key-of-the-metrics",
}


def test_secrets() -> None:
    """API keys of both forms, secrets of tokens and the password of Redis are secrets."""
    assert secrets_of(ENVIRON) == {
        "nk_live_of_the_shop",
        "nk_live_of_another",
        SECRET,
        "the-second-secret-of-a-rotation",
        "pass-word",
        "key-of-the-metrics",
    }
    assert secrets_of({"NOTIFIER_API_KEYS": '[{"id": "a", "secret": "nk_in_a_list"}]'}) == {"nk_in_a_list"}


def test_files(tmp_path: Path) -> None:
    """Secrets in files are secrets."""
    keys, tokens = tmp_path / "keys", tmp_path / "tokens"
    keys.write_text("shop:nk_of_the_shop\n")
    tokens.write_text(f"{SECRET},\nthe-second-secret\n")
    files = {"NOTIFIER_API_KEYS_FILE": str(keys), "NOTIFIER_TOKEN_SECRETS_FILE": str(tokens)}
    assert secrets_of(files) == {"nk_of_the_shop", SECRET, "the-second-secret"}


@rows(
    "text",
    ["nk_live_of_another", SECRET, "redis://:pass-word@h", jwt.encode({"sub": "a"}, SECRET), MANAGED, MANAGED[:32]],
)
def test_found(text: str) -> None:
    """A secret is found wherever it is, and so are any token and managed key."""
    assert leaks(f"[ERROR] {text!r} was rejected\n", secrets_of(ENVIRON))
    assert leaks("[ERROR] shop was rejected\n", secrets_of(ENVIRON)) == []
