"""Shares: whose part of a limited room something takes, so that nobody can take the room of others.

Tenants have shares, and within a tenant the keys with limited grants. Keys that a limited key creates share its part:
otherwise it would have as many parts as it can create keys.
"""

from typing import NamedTuple


class Share(NamedTuple):
    """The share of a `tenant`, or within it that of a limited `key`. The operator's is all that there is."""

    tenant: str = ""
    key: str = ""
    is_operator: bool = False

    @property
    def name(self) -> str:
        """The name under which the share is counted; no two shares have the same, except those of the operator."""
        return "" if self.is_operator else f"{self.tenant}/{self.key}"


DEFAULT = Share()  # of the unlimited keys of the default tenant
