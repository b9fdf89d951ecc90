"""Metrics for Prometheus.

The workers on a machine share a directory, and any of them answers for all. gunicorn_conf makes the directory before
they start; without one a worker answers for itself only.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CONNECTIONS = Gauge("notifier_connections", "Open connections.", multiprocess_mode="livesum")
LAGGING = Gauge(
    "notifier_lagging_connections",
    "Connections served from the log: they are resuming, have fallen behind, or lost their worker's subscription.",
    multiprocess_mode="livesum",
)
PUBLICATIONS = Counter("notifier_publications", "Publications acknowledged.")
PUBLISH_SECONDS = Histogram(
    "notifier_publish_seconds",
    "Time from a batch of publications to its answers.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PUBLISH_FAILURES = Counter("notifier_publish_failures", "Batches with publications that Redis did not accept.")
DELIVERIES = Counter("notifier_deliveries", "Entries fanned out to live connections.")
ACTIONS = Counter("notifier_inbox_actions", "Actions on inboxes that were carried out.")
STATES = Counter("notifier_inbox_states", "State frames, each sent to all connections of a user.")
REPLAYED = Counter("notifier_replayed", "Entries sent from the log.")
LOG_READS = Counter("notifier_log_reads", "Reads of a channel's log; one may serve many connections.")
SHARED_LOG_READS = Counter("notifier_shared_log_reads", "How many of those reads were of shared logs: topics and all.")
LOST = Counter("notifier_lost", "Number of times that a connection was notified of a permanent loss.")
GAPS = Counter("notifier_gaps", "Number of times that a channel's entry did not follow the one before.")
FAST_HANDSHAKES = Counter("notifier_fast_handshakes", "WebSocket handshakes that were answered before gunicorn.")
CLOSES = Counter("notifier_closes", "Connections that the service closed, by close code.", ["code"])
EVICTED = Counter("notifier_strangers_evicted", "Connections closed before their hello, to make room for others.")
HTTP_EVICTED = Counter("notifier_http_evicted", "Idle HTTP connections closed to make room for others.")
HELD = Counter("notifier_held", "Number of times that a connection was not read, because much of its user waited.")
OVERLOADS = Counter("notifier_overloads", "Connections closed because too much of what clients asked for waited.")
REFUSED_CREDENTIALS = Counter("notifier_refused_credentials", "API keys and tokens that were not valid.")
LIMITED = Counter("notifier_limited", "Number of times that a usage limit rejected something.", ["limit"])
REGRESSIONS = Counter("notifier_regressions", "Number of times that a channel's log had lost entries that were seen.")
DEAF = Counter("notifier_deaf", "Number of times that a worker's subscription to Redis was lost.")
SILENCES = Counter("notifier_silences", "Number of times that a worker did not receive its own heartbeat in time.")
JWKS_FAILURES = Counter("notifier_jwks_failures", "Number of failed requests for the keys of an issuer of tokens.")
BEAT_AGE = Gauge(
    "notifier_heartbeat_age_seconds",
    "Time since a worker last received its own heartbeat through Redis: the maximum over all workers.",
    multiprocess_mode="livemax",
)
LOOP_DELAY = Gauge(
    "notifier_event_loop_delay_seconds",
    "How late a timer of half a second last was: the maximum over all workers.",
    multiprocess_mode="livemax",
)


def exposition() -> bytes:
    """Return all metrics of the service as text."""
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:
        registry = REGISTRY  # there is no shared directory
    return generate_latest(registry)
