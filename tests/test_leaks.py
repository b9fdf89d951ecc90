"""The search for secrets in logs, which every service of the tests undergoes at its end."""

import jwt
import pytest

from tests.kit.leaks import leaks, secrets_of

SECRET = "a-secret-that-signs-and-verifies"
ENVIRON = {
    "NOTIFIER_API_KEYS": "shop:nk_live_of_the_shop,other:nk_live_of_another",
    "NOTIFIER_TOKEN_SECRETS": f"{SECRET},the-second-secret-of-a-rotation",
    "NOTIFIER_REDIS_URL": "redis://user:pass-word@redis.example/0",
}


def test_secrets() -> None:
    """API keys of both forms, secrets of tokens and the password of Redis are secrets."""
    assert secrets_of(ENVIRON) == {
        "nk_live_of_the_shop",
        "nk_live_of_another",
        SECRET,
        "the-second-secret-of-a-rotation",
        "pass-word",
    }
    assert secrets_of({"NOTIFIER_API_KEYS": '[{"id": "a", "secret": "nk_in_a_list"}]'}) == {"nk_in_a_list"}


@pytest.mark.parametrize(
    "text", ["nk_live_of_another", SECRET, "redis://:pass-word@h", jwt.encode({"sub": "a"}, SECRET)]
)
def test_found(text: str) -> None:
    """A secret is found wherever it is, and so is any token."""
    assert leaks(f"[ERROR] {text!r} was rejected\n", secrets_of(ENVIRON))
    assert leaks("[ERROR] shop was rejected\n", secrets_of(ENVIRON)) == []
