"""Settings of connections: a part of `notifier.settings`."""

import resource
from dataclasses import dataclass

from notifier import variables
from notifier.setting import setting

RESERVED_FILES = 128  # for gunicorn, Redis and logs


@dataclass(frozen=True)
class ConnectionSettings:
    """Connections of clients, and what they receive."""

    max_connections: int = setting(
        0, "connections", "Most connections per worker. 0: the limit on open files, less a reserve.", int, 0
    )
    max_http_connections: int = setting(
        0, "connections", "Most HTTP connections per worker. 0: 4,000, or a quarter of the open files.", int, 0
    )
    max_message_bytes: int = setting(65536, "bytes", "Longest message of a client.", int, 1024)
    max_subscriptions: int = setting(100, "topics", "Most topics of one connection.", int, 1)
    hello_timeout: float = setting(10.0, "seconds", "How long a client may take to send hello.", float, 0.1)
    stranger_bytes: int = setting(
        16777216, "bytes", "Most bytes of unfinished messages before the hello, of all clients.", int, 65536
    )
    attach_timeout: float = setting(
        10.0, "seconds", "How long a connection waits until its worker has subscribed to its channels.", float, 0.1
    )
    heartbeat: float = setting(25.0, "seconds", "Time between two pings of a connection.", float, 1)
    expiry_notice: float = setting(60.0, "seconds", "How long before its token expires a client is notified.", float, 0)
    replay_overlap: float = setting(
        2.0, "seconds", "How far before the cursor of a client that reconnects the replay begins.", float, 0
    )
    recent_bytes: int = setting(
        4194304, "bytes", "Memory of a worker for recent notifications, for clients that were offline briefly.", int, 0
    )
    send_buffer_bytes: int = setting(
        65536, "bytes", "Send buffer of a connection in the kernel (SO_SNDBUF).", int, 4096
    )
    max_backlog_bytes: int = setting(
        65536, "bytes", "Most bytes buffered for a connection before it is served from the log.", int, 1024
    )
    lag_timeout: float = setting(60.0, "seconds", "How long a connection that does not read stays open.", float, 1)
    drain_timeout: float = setting(
        15.0, "seconds", "How long a worker that ends may take to close its connections.", float, 0.1
    )
    fast_handshakes: bool = setting(
        True,
        "0 or 1",
        "Whether usual WebSocket handshakes are answered when the connection is accepted, before gunicorn reads them.",
        variables.flag,
    )
    echo: bool = setting(
        False, "0 or 1", "Whether /v1/echo is served; development mode always serves it.", variables.flag
    )

    @property
    def connection_limit(self) -> int:
        """Most connections of one worker."""
        return self.max_connections or max(_files() - RESERVED_FILES - self.http_limit, 1)

    @property
    def http_limit(self) -> int:
        """Most HTTP connections of one worker. Streams are counted separately."""
        return self.max_http_connections or max(min(4000, _files() // 4), 1)


def _files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
