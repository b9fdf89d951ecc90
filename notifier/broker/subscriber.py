"""The subscriber: one connection to Redis on which this worker receives what any worker publishes.

It reconnects with a growing, random pause, subscribes to all wanted channels, and notifies its listener when the
subscription is lost and when it is confirmed again. A connection that is open but dead raises no error: the heartbeat
detects it.
"""

import logging
import random
import threading
import time
from typing import Any, Protocol

from notifier.broker.redis_connection import RedisConnection, pack
from notifier.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

_BATCH = 500  # channels per SSUBSCRIBE: a worker with many channels must not block Redis for long
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts to connect


class Listener(Protocol):
    """Takes what the subscription brings."""

    def wanted_channels(self) -> list[str]:
        """Return all channels to subscribe to."""

    def subscription_lost(self) -> None:
        """Note that nothing is received until the next `subscribed`."""

    def subscribed(self, channels: list[str]) -> None:
        """Note that Redis has confirmed the subscription of these channels."""

    def received(self, messages: list[tuple[str, bytes]]) -> None:
        """Take messages in the order in which they came: channel and what was published to it."""


class Subscriber:
    """Keeps this worker subscribed. Redis knows a channel by `prefix:{channel}`."""

    def __init__(self, url: str, prefix: str, timeout: float, listener: Listener) -> None:
        self._connection = RedisConnection(url, timeout, listens=True)
        self._prefix = prefix
        self._listener = listener
        self._open = False
        self._connects = 0  # number of connects so far
        self._stopped = False
        self._to_subscribe: list[str] = []
        self._to_unsubscribe: list[str] = []
        self._changed = threading.Event()
        self._sending = threading.Lock()  # two threads write; their commands must not mix

    def start(self) -> None:
        """Start the threads that listen and that keep the subscriptions up to date."""
        for run in (self._listen, self._reconcile):
            threading.Thread(target=run, name=f"subscriber {run.__name__}", daemon=True).start()

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel; the listener is notified when Redis has confirmed it."""
        self._to_subscribe.append(channel)
        self._changed.set()

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel that has been confirmed."""
        self._to_unsubscribe.append(channel)
        self._changed.set()

    def reconnect(self) -> None:
        """Close a connection that is open but dead; it is then opened again."""
        self._connection.close()

    def stop(self) -> None:
        """Close the connection permanently."""
        self._stopped = True
        self._connection.close()

    def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped:
            try:
                self._connection.connect()
                self._subscribe_all()
                while True:
                    self._take(self._connection.receive())
                    pause = _FIRST_PAUSE
            except BrokerUnavailable as error:
                if not self._stopped:
                    logger.warning("The subscriber lost Redis: %s", error.detail)
            except Exception:
                # This loop must survive: without it the worker receives nothing.
                logger.exception("The subscriber failed")
                self._connection.close()
            self._note_loss()
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _note_loss(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._listener.subscription_lost()
        except Exception:
            logger.exception("The loss of the subscription was not handled")

    def _subscribe_all(self) -> None:
        wanted = self._listener.wanted_channels()
        self._to_subscribe, self._to_unsubscribe = [], []  # `wanted` has them all
        self._open = True
        self._connects += 1
        self._send("SSUBSCRIBE", wanted, self._connects)

    def _reconcile(self) -> None:
        while not self._stopped:
            self._changed.wait()
            self._changed.clear()
            if not self._open:
                continue  # the next connect subscribes to all wanted channels
            connect = self._connects
            asked, self._to_subscribe = self._to_subscribe, []
            given_up, self._to_unsubscribe = self._to_unsubscribe, []
            try:
                self._send("SUNSUBSCRIBE", given_up, connect)
                self._send("SSUBSCRIBE", asked, connect)
            except BrokerUnavailable:
                continue  # the listening thread sees the same error and reconnects
            except Exception:
                # This loop must survive, too: without it nobody is subscribed to anything new.
                logger.exception("The subscriber failed to subscribe")
                self._connection.close()

    def _send(self, command: str, channels: list[str], connect: int) -> None:
        """Send a command on the connection that it is meant for; on a later one it would be out of order."""
        for start in range(0, len(channels), _BATCH):
            batch = channels[start : start + _BATCH]
            with self._sending:
                if connect != self._connects:
                    return
                self._connection.send([pack(command, *(f"{self._prefix}:{{{channel}}}" for channel in batch))])

    def _take(self, replies: list[Any]) -> None:
        messages: list[tuple[str, bytes]] = []
        confirmed = []
        start = len(self._prefix) + 2
        for reply in replies:
            if not isinstance(reply, list):
                raise BrokerUnavailable(f"Redis refused to subscribe: {reply}")
            if reply[0] == b"smessage":
                messages.append((reply[1][start:-1].decode(), reply[2]))
            elif reply[0] == b"ssubscribe":
                confirmed.append(reply[1][start:-1].decode())
        # A confirmation precedes the messages of its channel, so confirmations first keeps the order.
        if confirmed:
            self._listener.subscribed(confirmed)
        if messages:
            self._listener.received(messages)
