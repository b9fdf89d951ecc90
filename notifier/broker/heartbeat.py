"""The heartbeat: each worker publishes one through Redis, to detect a dead subscription that raises no error."""

import logging
import threading
import time
from collections.abc import Callable

from notifier.broker.database import Database
from notifier.errors import BrokerUnavailable
from notifier.protocol.clock import Clock
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

NODES = "nodes"  # the channel on which workers receive the heartbeats of all


class Heartbeat:
    """Publishes at an interval, each time after `prepare`, and calls `on_silence` if its own heartbeat does not arrive.

    `writes` is whether the last heartbeat could be written.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        database: Database,
        clock: Clock,
        name: str,
        *,
        prepare: Callable[[], None],
        on_silence: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._name = name
        self._prepare = prepare
        self._on_silence = on_silence
        self._received_at = 0.0  # when this worker last received its own, in monotonic seconds
        self.writes = False

    def start(self) -> None:
        """Publish the first heartbeat, then go on in a thread of its own."""
        self._received_at = time.monotonic()
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    @property
    def age(self) -> float:
        """How long ago this worker last received its own heartbeat, in seconds."""
        return time.monotonic() - self._received_at

    @property
    def is_alive(self) -> bool:
        """Whether the last heartbeat arrived in time."""
        return self.age < self._settings.broker_deadline

    def receive(self, message: bytes) -> int:
        """Take a heartbeat of any worker, and return its time in ms."""
        name, ms = message.split()
        self._clock.observe(int(ms))
        if name.decode() == self._name:
            self._received_at = time.monotonic()
        return int(ms)

    def beat(self) -> None:
        """Publish a heartbeat to all workers, this one included."""
        try:
            self._prepare()
            self._database.beat(NODES, self._name)
            self.writes = True
        except BrokerUnavailable as error:
            logger.warning("The heartbeat failed: %s", error.detail)
            self.writes = False
        except Exception:
            # This loop must survive: without it a dead subscription is not detected.
            logger.exception("The heartbeat failed")

    def _reconnect(self) -> None:
        try:
            self._on_silence()
        except Exception:
            logger.exception("A dead subscription cannot be closed")  # the next silence tries again

    def _run(self) -> None:
        while True:
            # Not beyond the deadline: a look with the next heartbeat would be late.
            time.sleep(min(self._settings.broker_heartbeat, max(self._settings.broker_deadline - self.age, 0)))
            self.beat()
            if not self.is_alive:
                logger.warning("No heartbeat arrived for %s seconds: reconnecting", self._settings.broker_deadline)
                metrics.SILENCES.inc()
                self._received_at = time.monotonic()
                self._reconnect()
