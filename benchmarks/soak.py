"""How the memory of a worker grows under a mixed load: `python -m benchmarks.soak [--minutes 60]`.

Clients come and go, each with three of many topics; publications of every kind, recalls, inbox actions and lists go
on at a constant rate. The logs of the topics are full from the start, because what a worker knows of a log grows with
it. Each minute the memory of the worker is printed. The figure at the end is the growth after the first quarter of
the time, as the difference of two medians of five minutes. A growth of more than one megabyte is a failure.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import sys
import time

import aiohttp
import jwt

from benchmarks import process
from benchmarks.contenders import API_SECRET, TOKEN_SECRET, Notifier, running

CLIENTS, USERS, TOPICS = 150, 400, 50
RATE = 45  # publications per second
ACTIONS = 10  # inbox requests per second
STAY = 60  # most seconds that a client stays connected
ROUNDS = 1250  # entries of a log at the beginning: 1,000, and those that others replace
STORED = ("inbox", "inbox", "history")  # `retain`, as often as in the load
WINDOW = 5  # readings of one median
MOST_GROWTH = 1024  # KB
NAMES = [f"user-{number}" for number in range(USERS)]
TOPIC_NAMES = [f"topic-{number}" for number in range(TOPICS)]


class Soaked(Notifier):
    """The service with its default history."""

    def environment(self, port, data):
        """Return the settings of the benchmarks, without the history of a burst."""
        settings = super().environment(port, data)
        del settings["NOTIFIER_MAX_HISTORY"]
        return settings


def main():
    """Run the load and print the memory each minute."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=60)
    minutes = parser.parse_args().minutes
    with running(Soaked()) as service:
        readings = asyncio.run(_soak(service, minutes))
    settled = readings[len(readings) // 4 :]
    if len(settled) > 2 * WINDOW:
        growth = statistics.median(settled[-WINDOW:]) - statistics.median(settled[:WINDOW])
        print(f"growth after the first quarter: {growth / 1024:,.0f} KB in {len(settled) - WINDOW} minutes")
        if growth > MOST_GROWTH * 1024:
            sys.exit(f"It may grow by {MOST_GROWTH:,} KB.")


async def _soak(service, minutes):
    """Return the resident bytes of the worker at the end of each minute."""
    origin, connector = f"http://127.0.0.1:{service.port}", aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(origin, connector=connector) as http, asyncio.TaskGroup() as group:
        load = Load(http)
        await load.enroll()
        await load.fill()
        tasks = [group.create_task(load.client()) for _ in range(CLIENTS)]
        tasks += [group.create_task(load.publish()), group.create_task(load.act())]
        readings = []
        for minute in range(1, minutes + 1):
            await asyncio.sleep(60)
            readings.append(process.resident_bytes(service.worker))
            counts = ", ".join(f"{count:,} {what}" for what, count in load.counts.items())
            print(f"minute {minute}: {readings[-1] / 1024:,.0f} KB; {counts}", flush=True)
        for task in tasks:
            task.cancel()
    return readings


class Load:
    """Clients and backends. `counts` are totals of what they did."""

    def __init__(self, http):
        """Use one HTTP session for everything."""
        self.counts = {"published": 0, "recalled": 0, "received": 0, "connections": 0, "actions": 0, "errors": 0}
        self._http = http
        self._backend = {"Authorization": f"Bearer {API_SECRET}"}
        self._recent = []  # ids of publications that may be recalled
        self._tokens = {}

    async def enroll(self):
        """Make each tenth user a member of two topics."""
        for name in NAMES[::10]:
            for topic in random.sample(TOPIC_NAMES, 2):
                await self._request("PUT", f"/v1/topics/{topic}/members/{name}", self._backend)

    async def fill(self):
        """Publish to each topic, and to everyone, at least as many notifications as a log can store, mixed as later.

        A third of the entries is on one topic only, and a third is in no inbox. With more items than later, a worker
        would free memory while it runs, and that would hide growth.
        """
        headers = self._backend | {"Content-Type": "application/x-ndjson"}
        for _ in range(ROUNDS):
            names = random.sample(TOPIC_NAMES, TOPICS)
            alone, together = names[: TOPICS // 3], names[TOPICS // 3 :]
            pairs = zip(together[::2], together[1::2], strict=True)
            audiences = [{"all": True}, *({"topics": topics} for topics in (*zip(alone), *pairs))]
            lines = [json.dumps(_notification(0) | {"to": to, "retain": random.choice(STORED)}) for to in audiences]
            async with self._http.post("/v1/notifications", headers=headers, data="\n".join(lines)) as answer:
                answer.raise_for_status()

    async def client(self):
        """Connect as one user after the other, stay for a while, act, and leave with and without a close."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._visit(random.choice(NAMES), random.uniform(1, STAY))
            await asyncio.sleep(random.uniform(0, 2))

    async def _visit(self, user, seconds):
        self.counts["connections"] += 1
        hello = {"type": "hello", "token": self._token(user), "topics": random.sample(TOPIC_NAMES, 3)}
        async with self._http.ws_connect("/v1/stream") as stream:
            await stream.send_json(hello)
            until, since = time.monotonic() + seconds, None
            async with asyncio.timeout(seconds):
                async for message in stream:
                    since = await self._answer(stream, message, since)
                    if time.monotonic() > until:
                        break

    async def _answer(self, stream, message, since):
        """Return where the next `ack` begins. The first begins at the cursor of the `welcome`."""
        if message.type is not aiohttp.WSMsgType.TEXT:
            return since
        frame = json.loads(message.data)
        if frame["type"] == "welcome":
            return frame["cursor"]
        if frame["type"] == "notification":
            self.counts["received"] += 1
            if random.random() < 0.02:
                await stream.send_json({"type": random.choice(("seen", "read")), "up_to": frame["cursor"]})
            if random.random() < 0.02:
                ids = [frame["notification"]["id"]]
                await stream.send_json({"type": random.choice(("read", "unread", "archive")), "ids": ids})
            if random.random() < 0.1:
                await stream.send_json({"type": "ack", "since": since, "cursor": frame["cursor"]})
                return frame["cursor"]
        return since

    async def publish(self):
        """Publish at the rate, and recall one of fifty."""
        start = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(start + number / RATE - time.monotonic(), 0))
            answer = await self._request("POST", "/v1/notifications", self._backend, _notification(number))
            if answer:
                self.counts["published"] += 1
                self._recent = [*self._recent[-50:], answer["id"]]
            if number % 50 == 49 and self._recent:
                self.counts["recalled"] += 1
                recalled = self._recent.pop(random.randrange(len(self._recent)))
                await self._request("DELETE", f"/v1/notifications/{recalled}", self._backend)

    async def act(self):
        """Read inboxes over HTTP, and change them."""
        while True:
            await asyncio.sleep(1 / ACTIONS)
            self.counts["actions"] += 1
            headers = {"Authorization": f"Bearer {self._token(random.choice(NAMES))}"}
            listed = await self._request("GET", "/v1/inbox?limit=20", headers)
            if listed and listed["items"]:
                some = random.sample(listed["items"], min(3, len(listed["items"])))
                body = {"ids": [item["notification"]["id"] for item in some]}
                await self._request("POST", f"/v1/inbox/{random.choice(('read', 'archive', 'seen'))}", headers, body)

    async def _request(self, method, path, headers, body=None):
        try:
            async with self._http.request(method, path, headers=headers, json=body) as answer:
                if answer.status >= 400 and not (method == "DELETE" and answer.status == 404):
                    self.counts["errors"] += 1
                    return None
                return await answer.json() if answer.content_type == "application/json" else None
        except aiohttp.ClientError:
            self.counts["errors"] += 1
            return None

    def _token(self, user):
        if user not in self._tokens:
            claims = {"sub": user, "exp": int(time.time()) + 7200, "topics": ["*"]}
            self._tokens[user] = jwt.encode(claims, TOKEN_SECRET, "HS256")
        return self._tokens[user]


def _notification(number):
    """Return a notification of one of all kinds."""
    to = random.choice(
        [
            {"users": random.sample(NAMES, random.choice((1, 1, 5)))},
            {"topics": [random.choice(TOPIC_NAMES)]},
            {"topics": random.sample(TOPIC_NAMES, 2)},
            {"all": True} if number % 9 == 0 else {"users": [random.choice(NAMES)]},
        ]
    )
    notification = {"to": to, "title": f"Number {number}", "body": "x" * random.randrange(300)}
    notification["type"] = random.choice(("order.shipped", "mention", "deploy"))
    notification["retain"] = random.choice(("inbox", "inbox", "history", "none"))
    if random.random() < 0.2:
        notification["collapse_key"] = f"key-{random.randrange(20)}"
    if random.random() < 0.2:
        notification["ttl"] = random.randrange(1, 120)
    return notification


if __name__ == "__main__":
    main()
