"""The inbox: the cost of a list, an action and an item. The peers have no inbox.

One worker with its own Valkey, and one client at a time. Times are from just before the request to the last byte.
"""

import contextlib
import http.client
import itertools
import json
import time

import redis
from websockets.sync.client import connect

from benchmarks.contenders import free_port
from benchmarks.load import post_repeatedly
from benchmarks.measures import Incomplete, Row
from benchmarks.storms import percentile, service
from benchmarks.valkey import Valkey

ROWS = {
    "list": Row("list of 20 with counts, inbox of 1,000 over 20 channels, p50", "{:.2f} ms", 5),
    "counts": Row("counts of the same inbox, p50", "{:.2f} ms", 0),
    "mark": Row("action until the state frame on another device, p50", "{:.2f} ms", 10),
    "extra": Row("publish to a user's inbox, extra cost over `retain: history`", "{:.0f} %", 30),
    "writes": Row("publish to `all` with 1,000,000 known users: entries written to Redis", "{:.0f}", 1),
    "memory": Row("Redis memory for a 300-byte notification, log and inbox", "{:.0f} B", 700),
    "record": Row("the same, with the record for recalls", "{:.0f} B", 0),
}
USER, CHANNELS, ITEMS = "alice", 20, 1_000
REQUESTS = 500
KNOWN = 1_000_000
KEEPERS, KEPT, TEXT = 20, 1_000, 300  # users, items of each, bytes of an item's JSON
ROUNDS = 5  # of each kind, alternating


def measure(scale, directory, notes):
    """Yield all figures; `directory` has the compiled clients."""
    with Valkey(free_port()) as valkey, service(1, valkey.url) as where, contextlib.ExitStack() as stack:
        backend = stack.enter_context(contextlib.closing(Backend(where)))
        fill(backend)
        yield "list", backend.median_time("GET", "/v1/inbox?limit=20")
        yield "counts", backend.median_time("GET", "/v1/inbox/counts")
        yield "mark", action_until_state(where, backend)
        yield "extra", extra_cost(where, scale, directory)
        backend.close()  # the service closes a connection that was idle for so long
        yield "writes", written_for_all(valkey, backend)
    with (
        Valkey(free_port()) as valkey,
        service(1, valkey.url) as where,
        contextlib.closing(Backend(where)) as backend,
    ):
        yield from memory(valkey, backend)


class Backend:
    """Sends requests of a publisher and of the user on one persistent connection."""

    def __init__(self, where):
        """Prepare the connection."""
        self._publisher = where.contender.headers
        token = json.loads(where.contender.hello(USER))["token"]
        self._user = {"Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=60)

    def close(self):
        """Close the connection."""
        self._connection.close()

    def publish(self, notifications):
        """Publish many notifications, and return their answers."""
        lines = "".join(json.dumps(notification) + "\n" for notification in notifications)
        kind = {"Content-Type": "application/x-ndjson"}
        return self.ask("POST", "/v1/notifications", lines, self._publisher | kind).splitlines()

    def ask(self, method, path, body=None, headers=None):
        """Return the answer to a request of the user, or of a publisher by `headers`."""
        self._connection.request(method, path, body, self._user if headers is None else headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Incomplete(f"{method} {path} was answered with {answer.status}: {text[:200]!r}")
        return text

    def join(self, topic):
        """Make the user a member of a topic."""
        self.ask("PUT", f"/v1/topics/{topic}/members/{USER}", headers=self._publisher)

    def median_time(self, method, path):
        """Return the median time of a request in milliseconds."""
        times = []
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            self.ask(method, path)
            times.append(1000 * (time.perf_counter() - begin))
        return percentile(times, 0.5)


def fill(backend):
    """Fill the user's inbox with items of many channels in turn."""
    topics = [f"project-{number}" for number in range(CHANNELS - 2)]
    for topic in topics:
        backend.join(topic)
    to = [{"users": [USER]}, {"all": True}, *({"topics": [topic]} for topic in topics)]
    each = itertools.islice(itertools.cycle(to), ITEMS)
    backend.publish({"to": target, "title": "An item", "body": "x" * 150} for target in each)
    counts = json.loads(backend.ask("GET", "/v1/inbox/counts"))["counts"]
    if counts["unread"] != ITEMS:
        raise Incomplete(f"{counts['unread']} of {ITEMS} items are in the inbox")


def action_until_state(where, backend):
    """Return the median time from an action until another connection receives its state frame, in ms."""
    listing = json.loads(backend.ask("GET", "/v1/inbox?limit=100"))
    times = []
    with connect(f"ws://127.0.0.1:{where.port}{where.contender.stream}", proxy=None) as device:
        device.send(where.contender.hello(USER))
        await_frame(device, "welcome")
        for action in ("read", "unread", "read"):
            for item in listing["items"]:
                body = json.dumps({"ids": [item["notification"]["id"]]})
                begin = time.perf_counter()
                backend.ask("POST", f"/v1/inbox/{action}", body)
                await_frame(device, "state")
                times.append(1000 * (time.perf_counter() - begin))
    return percentile(times, 0.5)


def await_frame(device, kind):
    """Wait for a frame."""
    while json.loads(device.recv(10))["type"] != kind:
        pass


def extra_cost(where, scale, directory):
    """Return by how many percent publishing for inboxes is slower than for the history only, by medians."""
    rates = {"inbox": [], "history": []}
    for _ in range(ROUNDS):
        for retain, found in rates.items():
            to = {"users": [f"nobody-{retain}"]}
            body = where.contender.notification(64, to=to, retain=retain) % (1, 0)
            seconds = scale.publish_seconds / 2
            result = post_repeatedly(directory, where, body, "application/json", 32, seconds)
            found.append(result["accepted"] / result["seconds"])
    inbox, history = (percentile(found, 0.5) for found in rates.values())
    return 100 * (history / inbox - 1)


def written_for_all(valkey, backend):
    """Return how many entries a publication to `all` writes when a million users have used their inboxes."""
    with redis.Redis(port=valkey.port) as client:
        for start in range(0, KNOWN, 10_000):
            with client.pipeline(transaction=False) as pipeline:
                for number in range(start, start + 10_000):
                    pipeline.hset(f"n:{{user:known-{number}}}:state", mapping={"read": 1, "revision": 1})
                pipeline.execute()
        backend.publish([{"to": {"all": True}, "title": "warm"}])
        before = entries(valkey)
        backend.publish([{"to": {"all": True}, "title": "Hello, everybody"}])
        return entries(valkey) - before


def entries(valkey):
    """Return how many entries have been added to logs and inboxes since Valkey started."""
    return valkey.calls("xadd") + valkey.calls("zadd")


def memory(valkey, backend):
    """Yield the bytes that a notification adds to Redis: in log and inbox, and together with its record."""
    users = [f"keeper-{number}" for number in range(KEEPERS)]
    overhead = len('{"id":"","created_at":"","title":"An item","body":"","severity":"info"}') + 36 + 24
    notification = {"title": "An item", "body": "x" * (TEXT - overhead)}
    with redis.Redis(port=valkey.port) as client:
        backend.publish([{"to": {"users": [user]}, **notification} for user in users])  # creates the keys
        before = client.info("memory")["used_memory_dataset"], kept(client, users)
        for user in users:
            backend.publish([{"to": {"users": [user]}, **notification}] * (KEPT - 1))
        after = client.info("memory")["used_memory_dataset"], kept(client, users)
        [[_, entry]] = client.xrevrange(f"n:{{user:{users[0]}}}:log", count=1)
        if len(next(iter(entry.values()))) != TEXT:
            raise Incomplete(f"an item has {len(next(iter(entry.values())))} bytes")
    count = KEEPERS * (KEPT - 1)
    yield "memory", (after[1] - before[1]) / count
    yield "record", (after[0] - before[0]) / count


def kept(client, users):
    """Return the size of the logs and inboxes of users in bytes."""
    names = ("log", "meta", "inbox", "seen", "read", "archived", "expiring", "receipts", "state")
    keys = [f"n:{{user:{user}}}:{name}" for user in users for name in names]
    return sum(client.memory_usage(key, samples=0) or 0 for key in keys)
