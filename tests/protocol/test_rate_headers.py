"""The header fields that contain the rest of a limit."""

from notifier.protocol import rate_headers
from notifier.protocol.allowance import Rate


def test_rate() -> None:
    """A rate is a policy with its burst, and the window in which the burst is refilled."""
    assert rate_headers.of_rate("user_frames", Rate.of(2000), 0.2) == {
        "RateLimit-Policy": '"user_frames";q=4000;w=2',
        "RateLimit": '"user_frames";r=0;t=1',
    }
    fields = rate_headers.of_rate("user_replayed_bytes", Rate.of(0.1), 7.5)
    assert fields["RateLimit-Policy"] == '"user_replayed_bytes";q=1;w=10;qu="content-bytes"'
    assert fields["RateLimit"].endswith("r=0;t=8")


def test_day() -> None:
    """The fields of a daily quota contain the rest, and the time until the next day."""
    assert rate_headers.of_day("key_daily_bytes", 1000, 7, 60.5) == {
        "RateLimit-Policy": '"key_daily_bytes";q=1000;w=86400;qu="content-bytes"',
        "RateLimit": '"key_daily_bytes";r=7;t=61',
    }


def test_concurrency() -> None:
    """A number of requests at a time has no window."""
    fields = rate_headers.of_concurrency("user_requests", 100)
    assert fields == {
        "RateLimit-Policy": '"user_requests";q=100;qu="concurrent-requests"',
        "RateLimit": '"user_requests";r=0',
    }
