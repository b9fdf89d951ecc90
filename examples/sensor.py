"""An IoT sensor: it measures every second, and each reading arrives once, even after an outage or a power cut.

    make run    # in another terminal, now or later
    . examples/environment.sh
    .venv/bin/python examples/sensor.py kitchen    # dashboard.py shows it

Readings wait in a small database until the service has them. Each has its own idempotency key there, so a reading whose
answer was lost is sent again but published only once. The service stores only the latest reading of each sensor.
"""

import json
import math
import sqlite3
import sys
import time
from uuid import uuid4

from notifier.client import NotifierClient, NotifierError, ProblemError

MOST = 10_000  # waiting readings; beyond that the oldest are removed
EVERY = 1.0  # seconds


def open_buffer(path: str) -> sqlite3.Connection:
    """Return the readings that the service does not have yet."""
    buffer = sqlite3.connect(path, isolation_level=None)
    buffer.execute("CREATE TABLE IF NOT EXISTS readings (number INTEGER PRIMARY KEY AUTOINCREMENT, key, reading)")
    return buffer


def measure(sensor: str, buffer: sqlite3.Connection) -> None:
    """Add a reading: here of a simulated warm day, which lasts a minute."""
    reading = {"sensor": sensor, "at": time.time(), "celsius": 20 + 5 * math.sin(time.time() / 60 * math.tau)}
    buffer.execute("INSERT INTO readings (key, reading) VALUES (?, ?)", (str(uuid4()), json.dumps(reading)))
    buffer.execute("DELETE FROM readings WHERE number <= (SELECT max(number) FROM readings) - ?", (MOST,))


def publish(notifier: NotifierClient, buffer: sqlite3.Connection, key: str, reading: str, seconds: float) -> None:
    """Publish a reading and delete it. An invalid reading is deleted without being published."""
    whom = {"topics": ["readings"]}
    data = json.loads(reading)
    how = {"type": "sensor.reading", "retain": "history", "collapse_key": data["sensor"], "ttl": 3600}
    try:
        notifier.publish(how, to=whom, data=data, idempotency_key=key, deadline=seconds)
    except ProblemError as problem:
        if problem.code != "invalid_notification":
            raise
        print(f"Dropped: {problem}", flush=True)
    buffer.execute("DELETE FROM readings WHERE key = ?", (key,))


def main(sensor: str = "kitchen", path: str = "sensor.db") -> None:
    """Measure indefinitely; between two readings publish the waiting ones, oldest first."""
    buffer, due = open_buffer(path), time.monotonic()
    with NotifierClient() as notifier:
        while True:
            measure(sensor, buffer)
            due = max(due, time.monotonic()) + EVERY
            try:
                for key, reading in buffer.execute("SELECT key, reading FROM readings ORDER BY number").fetchall():
                    publish(notifier, buffer, key, reading, due - time.monotonic())
            except NotifierError as error:
                [waiting] = buffer.execute("SELECT count(*) FROM readings").fetchone()
                print(f"{waiting} readings wait: {error}", flush=True)
            time.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
