"""The heartbeat: what this worker says to itself through Redis, so that silence is not taken for peace."""

import logging
import threading
import time
from collections.abc import Callable

from notifier.broker.log import Broker
from notifier.errors import BrokerUnavailable
from notifier.protocol.clock import Clock
from notifier.settings import Settings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

NODES = "nodes"  # the channel on which nodes hear themselves and each other


class Heartbeat:
    """Beats at an interval, each time after `prepare`; calls `on_silence` where it does not hear itself in time.

    `writes` is whether Redis could be written when it last beat.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        clock: Clock,
        name: str,
        *,
        prepare: Callable[[], None],
        on_silence: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._clock = clock
        self._name = name
        self._prepare = prepare
        self._on_silence = on_silence
        self._heard = 0.0  # when this worker last heard itself, in monotonic seconds
        self.writes = False

    def start(self) -> None:
        """Beat before the first connection comes, and from then on in a thread of its own."""
        self._heard = time.monotonic()
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    @property
    def age(self) -> float:
        """How long ago this worker last heard itself, in seconds."""
        return time.monotonic() - self._heard

    @property
    def is_heard(self) -> bool:
        """Whether this worker has heard itself in time."""
        return self.age < self._settings.broker_deadline

    def hear(self, message: bytes) -> int:
        """Note who lives, and return what time it is there, in ms."""
        name, ms = message.split()
        self._clock.observe(int(ms))
        if name.decode() == self._name:
            self._heard = time.monotonic()
        return int(ms)

    def beat(self) -> None:
        """Say something to all workers, this one included."""
        try:
            self._prepare()
            self._broker.beat(NODES, self._name)
            self.writes = True
        except BrokerUnavailable as error:
            logger.warning("The heartbeat failed: %s", error.detail)
            self.writes = False
        except Exception:
            # This loop must survive: without it nobody notices that nothing is heard.
            logger.exception("The heartbeat failed")

    def _run(self) -> None:
        while True:
            # Not beyond the deadline: to look only with the next beat would be late by as much.
            time.sleep(min(self._settings.broker_heartbeat, max(self._settings.broker_deadline - self.age, 0)))
            self.beat()
            if not self.is_heard:
                logger.warning("Nothing was heard for %s seconds: connecting anew", self._settings.broker_deadline)
                metrics.SILENCES.inc()
                self._heard = time.monotonic()
                self._on_silence()
