"""New keys for the settings."""

import json

import pytest

from tests.cli.conftest import Run


def test_new(run: Run) -> None:
    """A key without restrictions is short, one of a tenant is an object."""
    assert run("keys", "new", "shop").out.startswith("shop:nk_")
    assert json.loads(run("keys", "new", "shop", "--tenant", "acme").out)["tenant"] == "acme"


@pytest.mark.parametrize("tenant", ["", "A b"])
def test_wrong_tenant(run: Run, tenant: str) -> None:
    """An option whose variable is empty makes no key of the default tenant."""
    ended = run("keys", "new", "shop", "--tenant", tenant)
    assert (ended.code, ended.out) == (2, "")
    assert "has a tenant that is none" in ended.words
