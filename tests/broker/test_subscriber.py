"""The threads of the subscriber and of the heartbeat survive what they do not expect."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from notifier.broker.heartbeat import Heartbeat
from notifier.broker.subscriber import Subscriber
from tests.kit.waiting import DEADLINE


class BrokenConnection:
    """A connection whose first write fails in an unexpected way, as that of a TLS socket that is being closed."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.has_sent = threading.Event()
        self.was_closed = threading.Event()

    def send(self, commands: list[bytes]) -> None:
        if not self.was_closed.is_set():
            raise ValueError("Write on closed or unwrapped SSL socket.")
        self.sent += commands
        self.has_sent.set()

    def close(self) -> None:
        self.was_closed.set()


def run(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


def test_subscriptions_go_on() -> None:
    """After a fault the connection is closed, for the listening thread to open another, and later channels follow."""
    listener: Any = None
    subject = Subscriber("redis://127.0.0.1:1", "notifier", 1, listener)
    connection: Any = BrokenConnection()
    subject._connection, subject._open = connection, True
    run(subject._reconcile)
    subject.subscribe("topic:a")
    assert connection.was_closed.wait(DEADLINE)
    subject.subscribe("topic:b")
    assert connection.has_sent.wait(DEADLINE)
    assert b"{topic:b}" in connection.sent[0]
    subject.stop()
    subject._changed.set()


def test_heartbeats_go_on() -> None:
    """A dead connection that cannot be closed is tried again with the next heartbeat."""
    tries = 0
    has_tried_again = threading.Event()

    def reconnect() -> None:
        nonlocal tries
        tries += 1
        if tries > 1:
            has_tried_again.set()
            threading.Event().wait()  # for ever: the thread must not try a third time
        raise OSError("it cannot be closed")

    settings: Any = SimpleNamespace(broker_heartbeat=0.001, broker_deadline=0)
    database: Any = SimpleNamespace(beat=lambda *_: None)
    clock: Any = None
    subject = Heartbeat(settings, database, clock, "a", prepare=lambda: None, on_silence=reconnect)
    subject.start()
    assert has_tried_again.wait(DEADLINE)
