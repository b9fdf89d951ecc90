"""The publisher of the storms, which retries as it should."""

import http.client
import itertools
import json
import random
import threading
import time

from benchmarks.contenders import TOPIC


class Backend:
    """Publishes, and retries with the same key until a notification is acknowledged.

    `published` has the recipient of each number: `all`, `topic`, or a user.
    """

    def __init__(self, where, users):
        """Prepare to publish to `all`, the topic, and these users."""
        self.published = {}
        self._connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=30)
        self._headers = {**where.contender.headers, "Content-Type": "application/json"}
        self._users = users
        self._run = f"{time.time_ns()}"
        self._stopped = threading.Event()
        self._thread = None

    def publish(self, whom):
        """Publish one notification, and return when it is acknowledged."""
        number = len(self.published)
        to = {"all": {"all": True}, "topic": {"topics": [TOPIC]}}.get(whom, {"users": [whom]})
        body = json.dumps({"to": to, "title": "A storm", "data": number}).encode()
        self.published[number] = whom
        headers = {**self._headers, "Idempotency-Key": f"{self._run}-{number}"}
        while not self._accepted(body, headers):
            time.sleep(0.05)

    def publish_later(self, whom):
        """Publish one notification in a thread."""
        self._start(lambda: self.publish(whom))

    def publish_at(self, rate):
        """Publish `rate` notifications per second in a thread: to `all`, the topic and single users in turn."""

        def run():
            for whom in itertools.cycle(("all", "topic", "")):
                self.publish(whom or random.choice(self._users))
                if self._stopped.wait(1 / rate):
                    return

        self._start(run)

    def finish(self):
        """Stop the thread after the notification that it is publishing."""
        self._stopped.set()

    def is_busy(self):
        """Return whether the thread is still publishing."""
        return bool(self._thread and self._thread.is_alive())

    def missing(self, members):
        """Return how many notifications clients have not received yet, summed over all clients."""
        shared = {number for number, whom in self.published.items() if whom in ("all", "topic")}
        own = {}
        for number, whom in self.published.items():
            own.setdefault(whom, set()).add(number)
        return sum(len(shared - member.got) + len(own.get(member.user, set()) - member.got) for member in members)

    def _start(self, run):
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def _accepted(self, body, headers):
        try:
            self._connection.request("POST", "/v1/notifications", body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        if answer.status not in (201, 409, 503):
            raise RuntimeError(f"a publication was answered with {answer.status}")
        return answer.status == 201
