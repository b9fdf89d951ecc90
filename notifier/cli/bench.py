"""`notifier bench`: measures a service and the network in between with a small, bounded load."""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from notifier.cli.failure import FAILED, USAGE, Failure
from notifier.cli.options import (
    api_key_option,
    deadline_option,
    json_option,
    known_key,
    token_option,
    url_option,
)
from notifier.client import AsyncNotifierClient, AsyncStream, Received

_PATIENCE = 10.0  # seconds without a notification, after which the missing ones count as lost


@click.command(short_help="Measure a service with a small load.")
@click.option(
    "--publish",
    "count",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="How many notifications.",
)
@click.option("--listeners", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many connections.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="How many publications at once.",
)
@json_option
@url_option
@api_key_option
@token_option
@deadline_option
def bench(
    count: int,
    listeners: int,
    concurrency: int,
    as_json: bool,
    url: str,
    api_key: str | None,
    token: str | None,
    deadline: float,
) -> None:
    """Publish to the user of the token, listen as this user on many connections, and print rates and latencies.

    The notifications are not stored (retain: none), but open pages of the user show them: use a separate user. This
    one process publishes and listens, so a fast service is limited by it.
    """
    if not token:
        raise Failure("A user's token is needed: give --token or set NOTIFIER_TOKEN.", USAGE)
    load = _Load(_user_of(token), count)
    asyncio.run(
        load.run(
            AsyncNotifierClient(url, api_key=known_key(url, api_key), token=token, deadline=deadline),
            listeners,
            concurrency,
        )
    )
    report = load.report(listeners)
    if as_json:
        click.echo(json.dumps(report))
    else:
        for name, value in report.items():
            click.echo(f"{name:<22}{value:>12,}")
    if report["lost"]:
        raise Failure(f"{report['lost']} of {count * listeners} notifications were not received.", FAILED)


@dataclass
class _Load:
    """Publishes to one user, and measures publishing and delivery. Times are in seconds."""

    user: str
    count: int
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    publish_times: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    publishing: float = 0.0
    delivering: float = 0.0
    _began: float = 0.0

    async def run(self, client: AsyncNotifierClient, listeners: int, concurrency: int) -> None:
        """Connect all listeners, then publish, and wait until everything is received."""
        async with client, contextlib.AsyncExitStack() as entered:
            streams = [await entered.enter_async_context(client.listen()) for _ in range(listeners)]
            self._began = time.monotonic()
            numbers = iter(range(self.count))
            publishers = [self._publish(client, numbers) for _ in range(concurrency)]
            await asyncio.gather(*publishers, *(self._listen(stream) for stream in streams))

    async def _publish(self, client: AsyncNotifierClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            began = time.monotonic()
            data = {"run": self.run_id, "number": number, "at": began}
            await client.publish(to={"users": [self.user]}, type="notifier.bench", data=data, retain="none")
            self.publish_times.append(time.monotonic() - began)
            self.publishing = time.monotonic() - self._began

    async def _listen(self, stream: AsyncStream) -> None:
        with contextlib.suppress(TimeoutError):
            for _ in range(self.count):
                async with asyncio.timeout(_PATIENCE):
                    await self._receive(stream)

    async def _receive(self, stream: AsyncStream) -> None:
        async for event in stream:
            data = event.notification.get("data") if isinstance(event, Received) else None
            if isinstance(data, dict) and data.get("run") == self.run_id:
                self.delivering = time.monotonic() - self._began
                self.latencies.append(time.monotonic() - data["at"])
                return

    def report(self, listeners: int) -> dict[str, float]:
        """Return the figures."""
        return {
            "published": len(self.publish_times),
            "published_per_second": round(len(self.publish_times) / self.publishing),
            "publish_ms_median": _ms(self.publish_times, 0.5),
            "publish_ms_p99": _ms(self.publish_times, 0.99),
            "delivered": len(self.latencies),
            "delivered_per_second": round(len(self.latencies) / max(self.delivering, 0.001)),
            "latency_ms_median": _ms(self.latencies, 0.5),
            "latency_ms_p99": _ms(self.latencies, 0.99),
            "latency_ms_most": _ms(self.latencies, 1.0),
            "lost": self.count * listeners - len(self.latencies),
        }


def _ms(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else 0.0


def _user_of(token: str) -> str:
    """Return the user of a token without verifying it: the service does that."""
    try:
        payload = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise Failure("This is not a token: `notifier token` makes one.", USAGE) from error
