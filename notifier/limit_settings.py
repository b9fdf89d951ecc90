"""Settings of limits: how much each address, user and API key may use."""

from dataclasses import dataclass

from notifier.protocol import forwarded
from notifier.protocol.forwarded import Proxies
from notifier.setting import setting

_PER_SECOND = "per second"


@dataclass(frozen=True)
class LimitSettings:
    """How much an address, a user and an API key may use. Rates are long-term; twice that is allowed at once."""

    trusted_proxies: Proxies = setting(
        Proxies(), "list", "Networks of the proxies that say who the client is; unix: a Unix socket.", forwarded.parse
    )
    address_handshake_rate: float = setting(100.0, _PER_SECOND, "How often an address may open a stream.", float, 0.1)
    address_connections: int = setting(10000, "connections", "Most streams of an address, on all workers.", int, 1)
    address_requests: int = setting(1000, "requests", "Most requests of an address at a time, per worker.", int, 1)
    address_failure_rate: float = setting(
        1.0, _PER_SECOND, "How often authentication may fail for an address; 60 times that at once.", float, 0.1
    )
    user_frame_rate: float = setting(
        2000.0, _PER_SECOND, "How many frames a user may send; 5 times that at once.", float, 1
    )
    user_action_rate: float = setting(
        100.0, _PER_SECOND, "How many inbox actions and posted acks a user may send.", float, 0.1
    )
    user_connections: int = setting(2000, "connections", "Most streams of a user, on all workers.", int, 1)
    user_requests: int = setting(100, "requests", "Most requests of a user at a time, per worker.", int, 1)
    user_pending: int = setting(32, "requests", "Pending requests of a user at which its connections wait.", int, 1)
    user_pending_bytes: int = setting(
        262144, "bytes", "Bytes of a user's pending requests at which its connections wait.", int, 1024
    )
    pending_bytes: int = setting(33554432, "bytes", "Bytes of pending requests at which a worker is full.", int, 1024)
    user_replay_rate: int = setting(
        10485760, "bytes per second", "How much a user may be sent from the log; 30 times that at once.", int, 1024
    )
    user_daily_topics: int = setting(1000, "topics per day", "Most topics that a user may create. 0: any.", int, 0)
    user_daily_bytes: int = setting(
        1073741824, "bytes per day", "Most bytes that a user may publish. 0: any number.", int, 0
    )
    key_publish_rate: float = setting(100000.0, _PER_SECOND, "How many publications a key may send.", float, 0.1)
    key_recipient_rate: int = setting(1000000, _PER_SECOND, "How many recipients they may have.", int, 1)
    key_requests: int = setting(1000, "requests", "Most requests of an API key at a time, per worker.", int, 1)
    key_exports: int = setting(100, "exports", "Most exports of an API key at a time, per worker.", int, 1)
    key_change_rate: float = setting(
        10.0, _PER_SECOND, "How many API keys a key or tenant may create or rotate; 60 times that at once.", float, 0.1
    )
    key_audit_rate: float = setting(
        1000.0, _PER_SECOND, "How many entries of the audit log a key may cause, except broadcasts.", float, 0.1
    )
    key_daily_publications: int = setting(
        0, "publications per day", "Most publications of an API key. 0: any number.", int, 0
    )
    key_daily_recipients: int = setting(0, "recipients per day", "Most recipients of them. 0: any number.", int, 0)
    key_daily_topics: int = setting(0, "topics per day", "Most topics that a key may create. 0: any number.", int, 0)
    key_daily_bytes: int = setting(0, "bytes per day", "Most bytes that a key may store. 0: any number.", int, 0)
    tenant_daily_publications: int = setting(
        0, "publications per day", "Most publications of a tenant. 0: any number.", int, 0
    )
    tenant_daily_recipients: int = setting(0, "recipients per day", "Most recipients of them. 0: any number.", int, 0)
    tenant_daily_topics: int = setting(
        0, "topics per day", "Most topics that a tenant may create. 0: any number.", int, 0
    )
    tenant_daily_bytes: int = setting(0, "bytes per day", "Most bytes that a tenant may store. 0: any.", int, 0)
    head_timeout: int = setting(
        20, "seconds", "How long the head of a request may take, and how long an idle connection stays open.", int, 1
    )
    body_timeout: float = setting(
        20.0, "seconds", "How long the body of a request may take, if it is slower than the rate below.", float, 0.1
    )
    body_rate: float = setting(1000.0, "bytes per second", "Least rate of a body that takes longer.", float, 1)
    response_timeout: float = setting(
        20.0,
        "seconds",
        "How long reading a response may take, if it is slower than the rate below.",
        float,
        0.1,
    )
    response_rate: float = setting(
        1000.0, "bytes per second", "Least rate of a client that takes longer to read.", float, 1
    )
    user_response_bytes: int = setting(
        16777216,
        "bytes",
        "Most bytes of a user's responses that wait to be read and bodies in memory, per worker.",
        int,
        1024,
    )
    key_response_bytes: int = setting(67108864, "bytes", "The same for an API key.", int, 1024)
    response_bytes: int = setting(268435456, "bytes", "The same for everything in a worker.", int, 1024)
