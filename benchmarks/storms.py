"""Storms: recovery when many clients reconnect, or Redis restarts. The peers cannot resume.

Each storm starts its own Valkey and the service, and yields figures by the key of their row. If a client has not
received everything at the end, or a loss was reported, a note says so: such a run does not count.
"""

import bisect
import contextlib
import itertools
import os
import random
import re
import signal
import threading
import time
import urllib.request

from benchmarks.backend import Backend
from benchmarks.contenders import API_SECRET, Notifier, free_port, gunicorn_worker, running
from benchmarks.herd import Herd, Member
from benchmarks.measures import Incomplete, Row
from benchmarks.valkey import Valkey
from chaos.aside import running_aside

ROWS = {
    "drops spread": Row("1,000 clients drop for 2 s every 15 s, spread: recovered, p99", "{:.2f} s", 1),
    "drops at once": Row("the same, all at once: recovered, p99", "{:.2f} s", 1),
    "outage": Row("Valkey was killed: all clients recovered after it answers, worst", "{:.2f} s", 2),
    "silence": Row("a dead subscription is detected", "{:.1f} s", 10),
    "silence repaired": Row("the same: all clients recovered", "{:.1f} s", 0),
    "reload": Row("reload with 5,000 connections: reconnects per second, most", "{:,.0f}", 500),
    "reload away": Row("the same: longest time that a client was disconnected", "{:.2f} s", 0),
    "stampede": Row("5,000 clients reconnect at once: all complete", "{:.1f} s", 10),
    "stampede shared": Row("the same: reads of shared channels' logs", "{:,.0f}", 300),
    "stampede own": Row("the same: reads of users' logs", "{:,.0f}", 0),
    "new": Row("5,000 clients reconnect at once to a new worker: all complete", "{:.1f} s", 10),
    "new shared": Row("the same: reads of shared channels' logs", "{:,.0f}", 300),
    "new own": Row("the same: reads of users' logs", "{:,.0f}", 0),
}
CYCLE, AWAY = 15, 2  # seconds from one drop to the next, and of each absence
CYCLES = 2
SETTLE_SECONDS = 60  # at most, until all clients have received everything
OUTAGES = (0.3, 3, 10)  # seconds for which Valkey is down
MISSED = 5  # publications to each shared channel before a stampede


def drops(scale, notes):
    """Yield the 99th percentile of the time from the TCP connection to the end of the replay, in seconds."""
    yield "drops spread", recovery(scale, notes, lambda number: CYCLE * number / scale.herd)
    yield "drops at once", recovery(scale, notes, lambda _: 0)


def recovery(scale, notes, first_drop):
    """Return that percentile. `first_drop` has the seconds until the first drop of a client, by its number."""
    with storm(notes, "drops", scale.herd) as (herd, backend, _):
        backend.publish_at(rate=6)
        begin = time.monotonic() + 1
        for (number, member), cycle in itertools.product(enumerate(herd.members), range(CYCLES)):
            gone = begin + first_drop(number) + cycle * CYCLE
            herd.at(gone, herd.cut, member, gone + AWAY)
        await_recoveries(herd, CYCLES * len(herd.members), (CYCLES + 1) * CYCLE + SETTLE_SECONDS)
        settle(herd, backend)
        return percentile(herd.recoveries, 0.99)


def outages(scale, notes):
    """Yield how long after Valkey answers again all clients receive again, at worst."""
    yield "outage", max(outage(notes, seconds) for seconds in OUTAGES)


def outage(notes, seconds):
    """Return how long after Valkey answers again all clients of two workers have a new notification."""
    with storm(notes, f"outage of {seconds} s", members=40, workers=2) as (herd, backend, valkey):
        backend.publish("all")
        settle(herd, backend)
        valkey.kill()
        herd.rest(seconds)
        back = valkey.start()
        backend.publish_later("all")
        settle(herd, backend)
        return time.monotonic() - back


def silence(scale, notes):
    """Yield the seconds until a dead subscription is detected, and until its clients receive again."""
    with (
        Valkey(free_port()) as valkey,
        running_aside(valkey.port) as proxy,
        service(1, f"redis://127.0.0.1:{proxy.port}/0") as where,
        gathering(notes, "silence", where, 20) as (herd, backend),
    ):
        backend.publish_at(rate=2)
        herd.rest(1)
        begin = time.monotonic()
        proxy.silence()
        detected = threading.Event()
        threading.Thread(target=wait_for_silence, args=(where, detected), daemon=True).start()
        if not herd.run(detected.is_set, SETTLE_SECONDS):
            raise Incomplete("the dead subscription was not detected")
        yield "silence", time.monotonic() - begin
        settle(herd, backend)
        yield "silence repaired", time.monotonic() - begin


def wait_for_silence(where, detected):
    """Set an event when the service has detected a dead subscription."""
    while not metric(where, "notifier_silences_total"):
        time.sleep(0.02)
    detected.set()


def reload(scale, notes):
    """Yield the most connection attempts within a second while all workers are replaced, and the longest absence."""
    with storm(notes, "reload", scale.crowd, workers=2) as (herd, backend, _):
        backend.publish_at(rate=3)
        herd.rest(1)
        herd.attempts.clear()
        os.kill(herd.where.worker, signal.SIGHUP)
        await_recoveries(herd, len(herd.members))
        settle(herd, backend)
        yield "reload", most_within_a_second(herd.attempts)
        yield "reload away", max(herd.absences)


def stampede(scale, notes):
    """Yield how long it takes until all clients that reconnect at once are complete, and how much was read for them.

    First they reconnect to their worker, which remembers the latest entries, then to one that has just started.
    """
    for name in ("stampede", "new"):
        with storm(notes, name, scale.crowd) as (herd, backend, _):
            scatter(herd, backend)
            if name == "new":
                replace_worker(herd.where)
            before, begin = log_reads(herd.where), time.monotonic()
            for member in herd.members:
                herd.connect(member)
            await_recoveries(herd, len(herd.members))
            yield name, time.monotonic() - begin
            settle(herd, backend)
            total, shared = (after - count for after, count in zip(log_reads(herd.where), before, strict=True))
            yield f"{name} shared", shared
            yield f"{name} own", total - shared


def scatter(herd, backend):
    """Disconnect all clients in parts, and publish in between, so that each part misses something different."""
    first = min(member.cursor[0] for member in herd.members)
    for part in range(MISSED):
        leaving = herd.members[part::MISSED]
        publish_to_some(backend, leaving)
        settle(herd, backend, [member for member in herd.members if member.sock])
        for member in leaving:
            herd.cut(member)
            member.cursor = (random.randint(first, member.cursor[0]), 0)  # as if these were the cursors of pings
    publish_to_some(backend, herd.members[::MISSED])


def replace_worker(where):
    """Kill the worker, and wait until another one is ready."""
    os.kill(gunicorn_worker(where.worker), signal.SIGKILL)
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"http://127.0.0.1:{where.port}/readyz", timeout=2).status == 200:
                return
        time.sleep(0.05)
    raise Incomplete("no worker replaced the one that was killed")


def publish_to_some(backend, members):
    """Publish to `all`, to the topic, and to every tenth of some members."""
    for whom in ("all", "topic", *(member.user for member in members[::10])):
        backend.publish(whom)


STORMS = {"drops": drops, "outages": outages, "silence": silence, "reload": reload, "stampede": stampede}


class Workers(Notifier):
    """The service with several workers and the Valkey of the measure."""

    def __init__(self, workers, redis_url):
        """Set the number of workers and the URL of Valkey."""
        self._settings = {"NOTIFIER_WORKERS": str(workers), "NOTIFIER_REDIS_URL": redis_url}

    def environment(self, port, data):
        """Return the settings."""
        return super().environment(port, data) | self._settings

    def worker(self, pid):
        """Return the master."""
        return pid


@contextlib.contextmanager
def storm(notes, name, members, workers=1):
    """Yield a connected herd, its backend, and their Valkey; at the end, add a note about what is missing."""
    with (
        Valkey(free_port()) as valkey,
        service(workers, valkey.url) as where,
        gathering(notes, name, where, members) as (herd, backend),
    ):
        yield herd, backend, valkey


def service(workers, redis_url):
    """Run the service with several workers."""
    return running(Workers(workers, redis_url))


@contextlib.contextmanager
def gathering(notes, name, where, members):
    """Yield a connected herd and its backend; at the end, add a note about what is missing."""
    users = [f"user-{number}" for number in range(members)]
    with Herd(where.port, [Member(user, where.contender.hello(user)) for user in users]) as herd:
        herd.where = where
        backend = Backend(where, users)
        herd.open()
        try:
            yield herd, backend
        finally:
            backend.finish()
        missing = backend.missing(herd.members)
        if missing or herd.losses:
            notes.append(f"{name}: {missing:,} deliveries missing, {herd.losses:,} losses reported")
        if herd.refused:
            notes.append(f"{name}: {herd.refused:,} handshakes were rejected, and retried")


def await_recoveries(herd, count, seconds=SETTLE_SECONDS):
    """Wait until `count` reconnects are complete."""
    if not herd.run(lambda: len(herd.recoveries) >= count, seconds):
        raise Incomplete(f"{len(herd.recoveries):,} of {count:,} reconnects were completed")


def settle(herd, backend, whom=None):
    """Wait until all members, or those in `whom`, have received everything."""
    backend.finish()
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and (backend.is_busy() or backend.missing(whom or herd.members)):
        herd.rest(0.02 if len(herd.members) < 100 else 0.2)


def percentile(samples, share):
    """Return a percentile; `share` is from 0 to 1."""
    return sorted(samples)[min(int(share * len(samples)), len(samples) - 1)]


def most_within_a_second(moments):
    """Return the largest number of moments within any second."""
    moments = sorted(moments)
    return max(bisect.bisect_left(moments, begin + 1) - index for index, begin in enumerate(moments))


def metric(where, series):
    """Return a metric of the service, 0 if it has not been set yet."""
    url, key = f"http://127.0.0.1:{where.port}/metrics", {"Authorization": f"Bearer {API_SECRET}"}
    text = urllib.request.urlopen(urllib.request.Request(url, headers=key), timeout=10).read().decode()
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


def log_reads(where):
    """Return how many pages of logs were read, and how many of these belong to shared channels."""
    return metric(where, "notifier_log_reads_total"), metric(where, "notifier_shared_log_reads_total")
