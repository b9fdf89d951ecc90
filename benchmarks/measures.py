"""The measures: each gets a freshly started service, and yields figures by the key of their row."""

import contextlib
import time
from dataclasses import dataclass, field

from benchmarks.contenders import Service
from benchmarks.load import Listeners, Publisher, post_repeatedly
from benchmarks.plain import Streams
from benchmarks.process import cpu_seconds, resident_bytes
from benchmarks.stalled import Stalled


@dataclass(frozen=True)
class Row:
    """One row of the table. `unit` formats the figure, `target` is the figure to reach, 0 for none."""

    title: str
    unit: str
    target: float
    less_is_better: bool = True


ROWS = {
    "memory": Row("idle connection, worker memory", "{:,.0f} B", 2048),
    "memory events": Row("the same with Server-Sent Events", "{:,.0f} B", 2048),
    "memory poll": Row("the same with a waiting poll", "{:,.0f} B", 2048),
    "handshakes": Row("handshakes per second", "{:,.0f}", 2_000, less_is_better=False),
    "handshake": Row("CPU per handshake", "{:.0f} us", 0),
    "paced 64": Row("CPU per delivery, 20 per second, 64 B", "{:.2f} us", 5),
    "paced 512": Row("CPU per delivery, 20 per second, 512 B", "{:.2f} us", 5),
    "saturated 64": Row("CPU per delivery, saturated, 64 B", "{:.2f} us", 1),
    "saturated 512": Row("CPU per delivery, saturated, 512 B", "{:.2f} us", 1),
    "rate 64": Row("deliveries per second, saturated, 64 B", "{:,.0f}", 0, less_is_better=False),
    "rate 512": Row("deliveries per second, saturated, 512 B", "{:,.0f}", 0, less_is_better=False),
    "p50": Row("latency from POST to client, p50", "{:.2f} ms", 5),
    "p99": Row("latency from POST to client, p99", "{:.2f} ms", 10),
    "stalled memory": Row("connection that stopped reading, 10,000 behind: memory", "{:,.0f} B", 0),
    "stalled before": Row("latency to 10 others before that, p50", "{:.2f} ms", 0),
    "stalled after": Row("latency to 10 others while 100 do not read, p50", "{:.2f} ms", 0),
    "single": Row("publishes per second, one per request", "{:,.0f}", 3_000, less_is_better=False),
    "ndjson": Row("publishes per second, 1,000 per request", "{:,.0f}", 30_000, less_is_better=False),
}


@dataclass(frozen=True)
class Scale:
    """The amounts: seconds, and numbers of connections and notifications."""

    connections: int = 1_000
    idle: int = 10_000
    handshakes: int = 3_000
    burst: int = 20_000
    herd: int = 1_000
    crowd: int = 5_000
    paced_seconds: float = 5
    burst_seconds: float = 8
    latency_seconds: float = 12
    publish_seconds: float = 5


FULL = Scale()
QUICK = Scale(
    idle=2_000, handshakes=1_000, burst=4_000, herd=200, crowd=1_000,
    paced_seconds=2, burst_seconds=3, latency_seconds=3, publish_seconds=2,
)  # fmt: skip

POLLS = 2_000  # connections that wait at the same time
WARM_UP = 100  # connections before those that are measured
FILL = 1_000  # the same for memory: they use up the pages that the start of the worker has left free
SETTLE_SECONDS = 2  # until the worker has freed what handshakes need
COMPLETE_SECONDS = 40  # at most, from the last publication of a burst to its last delivery
OTHERS, STALLED, BEHIND = 10, 100, 10_000  # connections that read, that do not, and what these miss
LINES = 500  # notifications in one request of a burst


@dataclass
class Bench:
    """The resources of a measure: the service, the amounts, and a directory for files."""

    service: Service
    scale: Scale
    directory: str
    notes: list = field(default_factory=list)  # remarks that belong to the figures


class Incomplete(Exception):
    """Too much is missing for a meaningful figure."""


def memory(bench):
    """Yield the resident memory of the worker per idle connection, in bytes."""
    with Listeners(bench.directory) as listeners:
        open_all(bench, listeners, FILL)
        time.sleep(SETTLE_SECONDS)
        before = resident_bytes(bench.service.worker)
        opened = open_all(bench, listeners, bench.scale.idle)["opened"]
        time.sleep(SETTLE_SECONDS)
        yield "memory", (resident_bytes(bench.service.worker) - before) / opened


def events(bench):
    """Yield the same for Server-Sent Events."""
    yield from plain_memory(bench, "memory events", bench.scale.idle, "text/event-stream")


def poll(bench):
    """Yield the same for polls. A poll waits for at most 25 seconds, so fewer are measured."""
    since = f"{int(time.time() * 1000)}-0"
    yield from plain_memory(bench, "memory poll", min(bench.scale.idle, POLLS), "*/*", since)


def plain_memory(bench, key, count, *asked):
    """Yield the memory per connection without a WebSocket, if the service has such connections."""
    if not bench.service.contender.hello("nobody"):
        return
    with Streams(bench.service, FILL, "text/event-stream"):  # they do not end meanwhile, as polls do
        time.sleep(SETTLE_SECONDS)
        before = resident_bytes(bench.service.worker)
        with Streams(bench.service, count, *asked):
            time.sleep(SETTLE_SECONDS)
            yield key, (resident_bytes(bench.service.worker) - before) / count


def handshakes(bench):
    """Yield how many connections open per second, 32 at a time, and the worker's CPU time for each, in microseconds.

    Notifier's are open after `welcome`.
    """
    with Listeners(bench.directory) as listeners:
        open_all(bench, listeners, WARM_UP)
        cpu = cpu_seconds(bench.service.worker)
        result = open_all(bench, listeners, bench.scale.handshakes)
        yield "handshake", (cpu_seconds(bench.service.worker) - cpu) / result["opened"] * 1e6
        yield "handshakes", result["opened"] / result["seconds"]


def paced(bench):
    """Yield the worker's CPU time per delivery at 20 notifications per second, in microseconds.

    It includes everything that the worker does for a notification, also the publisher's request. The CPU time that the
    worker uses while nothing is published is subtracted.
    """
    with Listeners(bench.directory) as listeners:
        open_all(bench, listeners, bench.scale.connections)
        for text_bytes in (64, 512):
            publisher = warm_publisher(bench, listeners, text_bytes)
            idle = idle_cpu(bench.service, seconds=1)
            listeners.reset()
            begin, cpu = time.monotonic(), cpu_seconds(bench.service.worker)
            published = publish_paced(publisher, rate=20, seconds=bench.scale.paced_seconds)
            counted = wait_for_all(bench, listeners, published)
            used = cpu_seconds(bench.service.worker) - cpu - idle * (time.monotonic() - begin)
            yield f"paced {text_bytes}", used / counted["count"] * 1e6


def saturated(bench):
    """Yield CPU time per delivery in microseconds, and deliveries per second, at full load.

    One publisher posts NDJSON until the burst is published or its time is over. Then all of it must arrive.
    """
    for text_bytes in (64, 512):
        with Listeners(bench.directory) as listeners:
            open_all(bench, listeners, bench.scale.connections)
            publisher = warm_publisher(bench, listeners, text_bytes)
            listeners.reset()
            begin, cpu = time.monotonic(), cpu_seconds(bench.service.worker)
            published = publish_burst(publisher, bench.scale.burst, bench.scale.burst_seconds)
            counted = wait_for_all(bench, listeners, published)
            used = cpu_seconds(bench.service.worker) - cpu
            yield f"saturated {text_bytes}", used / counted["count"] * 1e6
            yield f"rate {text_bytes}", counted["count"] / (counted["last"] / 1e9 - begin)


def latency(bench):
    """Yield the time from just before the POST until each client has it, in milliseconds, at 5 per second."""
    with Listeners(bench.directory) as listeners:
        open_all(bench, listeners, bench.scale.connections)
        publisher = warm_publisher(bench, listeners, text_bytes=64)
        listeners.reset()
        published = publish_paced(publisher, rate=5, seconds=bench.scale.latency_seconds)
        counted = wait_for_all(bench, listeners, published)
        yield "p50", counted["p50"] / 1e3
        yield "p99", counted["p99"] / 1e3


def stalled(bench):
    """Yield the cost of a connection that stopped reading: memory in bytes, and the latency of others in milliseconds.

    This is not measured for the peers: their publications would wait for such a connection.
    """
    if not bench.service.contender.hello("nobody"):
        return
    with Listeners(bench.directory) as listeners, contextlib.ExitStack() as stack:
        open_all(bench, listeners, OTHERS)
        publisher = warm_publisher(bench, listeners, text_bytes=64, connections=OTHERS)
        yield "stalled before", paced_latency(bench, listeners, publisher)
        stack.enter_context(Stalled(bench.service, STALLED))
        before = resident_bytes(bench.service.worker)
        publish_burst(publisher, BEHIND, bench.scale.burst_seconds)
        yield "stalled memory", (resident_bytes(bench.service.worker) - before) / STALLED
        yield "stalled after", paced_latency(bench, listeners, publisher)


def paced_latency(bench, listeners, publisher):
    """Return the median latency at 20 notifications per second, in milliseconds."""
    listeners.reset()
    published = publish_paced(publisher, rate=20, seconds=bench.scale.paced_seconds)
    return wait_for_all(bench, listeners, published, OTHERS)["p50"] / 1e3


def single(bench):
    """Yield how many notifications that nobody receives are accepted per second: one per request, 32 at a time."""
    body = bench.service.contender.unreceived(64) % (1, 0)
    yield "single", accepted_per_second(bench, body, "application/json", connections=32)


def ndjson(bench):
    """Yield how many notifications that nobody receives are accepted per second: 1,000 per request, 4 at a time."""
    body = b"\n".join([bench.service.contender.notification(64) % (1, 0)] * 1_000)
    yield "ndjson", accepted_per_second(bench, body, "application/x-ndjson", connections=4)


SCENARIOS = {
    "memory": memory,
    "events": events,
    "poll": poll,
    "handshakes": handshakes,
    "paced": paced,
    "saturated": saturated,
    "latency": latency,
    "stalled": stalled,
    "single": single,
    "ndjson": ndjson,
}


def open_all(bench, listeners, count):
    """Open connections, and add a note if some did not open."""
    result = listeners.open(bench.service, count)
    if not result["opened"]:
        raise Incomplete("no connection opened")
    if result["opened"] < count:
        bench.notes.append(f"only {result['opened']:,} of {count:,} connections opened")
    return result


def wait_for_all(bench, listeners, published, connections=None):
    """Wait until every connection has received everything, and add a note about what was missing or out of order."""
    expected = published * (connections or bench.scale.connections)
    counted = listeners.wait(expected, COMPLETE_SECONDS)
    if not counted["count"]:
        raise Incomplete(f"none of {expected:,} deliveries arrived")
    if counted["count"] != expected or counted["disorder"] or counted["closed"]:
        bench.notes.append(
            f"{counted['count']:,} of {expected:,} deliveries, {counted['disorder']:,} out of order, "
            f"{counted['closed']:,} connections closed (last code {counted['close_code']})"
        )
    return counted


def warm_publisher(bench, listeners, text_bytes, connections=None):
    """Return a publisher whose first notifications have arrived, so that first times are not measured."""
    publisher = Publisher(bench.service, text_bytes)
    listeners.reset()
    for _ in range(5):
        publisher.one()
    wait_for_all(bench, listeners, publisher.published, connections)
    return publisher


def publish_paced(publisher, rate, seconds):
    """Publish `rate` notifications per second for `seconds`, and return how many were published."""
    begin, wanted = time.monotonic(), int(rate * seconds)
    for index in range(wanted):
        time.sleep(max(0, begin + index / rate - time.monotonic()))
        publisher.one()
    return wanted


def publish_burst(publisher, count, seconds):
    """Publish `count` notifications, or as many as `seconds` allow, and return how many were published."""
    begin, before = time.monotonic(), publisher.published
    while publisher.published - before < count and time.monotonic() - begin < seconds:
        publisher.many(LINES)
    return publisher.published - before


def idle_cpu(service, seconds):
    """Return the share of a core that the worker uses while nothing is published."""
    before = cpu_seconds(service.worker)
    time.sleep(seconds)
    return (cpu_seconds(service.worker) - before) / seconds


def accepted_per_second(bench, body, content_type, connections):
    """Return how many notifications were accepted per second, after a warm-up."""
    for seconds in (0.5, bench.scale.publish_seconds):
        result = post_repeatedly(bench.directory, bench.service, body, content_type, connections, seconds)
    if result["refused"] or result["broken"]:
        bench.notes.append(
            f"{result['refused']:,} of {result['requests']:,} requests refused, {result['broken']:,} connections broken"
        )
    return result["accepted"] / result["seconds"]
