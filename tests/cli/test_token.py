"""Tokens that no header can carry."""

import pytest

from tests.cli.conftest import Run

SECRET = "a-secret-of-the-tests-that-is-long-enough"


@pytest.mark.parametrize(("length", "code"), [(60, 0), (120, 2)])
def test_length(run: Run, monkeypatch: pytest.MonkeyPatch, length: int, code: int) -> None:
    """A token with a hundred topics of 60 characters fits into a header, one of twice that does not."""
    monkeypatch.setenv("NOTIFIER_TOKEN_SECRETS", SECRET)
    topics = [word for number in range(100) for word in ("--topic", f"{number:03}".ljust(length, "x"))]
    ended = run("token", "alice", *topics)
    assert ended.code == code
    assert ("fit into a header" in ended.words) == bool(code)


@pytest.mark.parametrize(("tenant", "code"), [("acme", 0), ("", 2), ("A b", 2)])
def test_tenant(run: Run, monkeypatch: pytest.MonkeyPatch, tenant: str, code: int) -> None:
    """A tenant that cannot be makes no token of the default one."""
    monkeypatch.setenv("NOTIFIER_TOKEN_SECRETS", SECRET)
    ended = run("token", "alice", "--tenant", tenant)
    assert (ended.code, bool(ended.out)) == (code, not code)
