"""A response's `RateLimit-Policy` and `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers-11)."""

import math

from notifier.protocol.allowance import Rate

_DAY = 86400
_UNITS = {"bytes": "content-bytes", "concurrent": "concurrent-requests"}


def of_rate(limit: str, rate: Rate, wait: float) -> dict[str, str]:
    """Return the fields for a rate of which nothing is left, and how long to wait, in seconds."""
    window = max(math.ceil(rate.burst / rate.per_second), 1)
    return _fields(limit, f"q={int(rate.burst)};w={window}{_unit(limit)}", f"r=0;t={math.ceil(wait)}")


def of_day(limit: str, most: int, left: int, wait: float) -> dict[str, str]:
    """Return the fields for a quota of a day, and how long until the next day, in seconds."""
    return _fields(limit, f"q={most};w={_DAY}{_unit(limit)}", f"r={left};t={math.ceil(wait)}")


def of_concurrency(limit: str, most: int) -> dict[str, str]:
    """Return the fields for a number of things at a time that has been reached."""
    return _fields(limit, f'q={most};qu="{_UNITS["concurrent"]}"', "r=0")


def _fields(limit: str, policy: str, state: str) -> dict[str, str]:
    return {"RateLimit-Policy": f'"{limit}";{policy}', "RateLimit": f'"{limit}";{state}'}


def _unit(limit: str) -> str:
    return f';qu="{_UNITS["bytes"]}"' if "bytes" in limit else ""
