"""gunicorn's configuration: gevent workers, the embedded Valkey, and the start and end of each worker's node."""

from gevent import monkey

monkey.patch_all()  # before anything else: an unpatched redis would block a worker in its retries

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from typing import Any

from notifier.server import configuration
from notifier.server.address import bound_writes, require_free
from notifier.server.data_directory import DirectoryError
from notifier.server.development import API_KEY_FILE, provide_secrets, store_address
from notifier.server.embedded_valkey import EmbeddedError, EmbeddedValkey
from notifier.server.heads import (
    FORWARDER_HEADERS,
    MAX_FIELD,
    MAX_FIELDS,
    MAX_LINE,
    harden_answers,
    limit_heads,
    remember_dates,
)
from notifier.server.memory import FreedMemory
from notifier.server.startup import start_node
from notifier.settings import SettingError, Settings
from notifier.loop import give_way

try:
    settings = Settings.from_environ(os.environ)
    if settings.server.dev:
        provide_secrets(settings.server.data_dir, os.environ)
    settings = configuration.load(os.environ)
except (SettingError, DirectoryError) as error:
    sys.exit(f"Notifier cannot start. {error}")

# Shared by the workers, which inherit it. The library reads it when it is imported, so that no module above may import
# the metrics; a reload finds it again.
METRICS, OURS = "PROMETHEUS_MULTIPROC_DIR", "notifier-metrics-"
if METRICS not in os.environ:
    os.environ[METRICS] = tempfile.mkdtemp(prefix=OURS)

import prometheus_client.multiprocess

bind = settings.server.bind
workers = settings.server.workers
worker_class = "notifier.server.worker.Worker"
worker_connections = settings.connections.http_limit  # without those that were handed over
keepalive = settings.limits.head_timeout  # also the timeout for the head of a request
limit_request_line, limit_request_fields, limit_request_field_size = MAX_LINE, MAX_FIELDS, MAX_FIELD
forwarder_headers = FORWARDER_HEADERS
limit_heads()
harden_answers()
remember_dates()
timeout = 60
graceful_timeout = int(settings.connections.drain_timeout) + 8  # then gunicorn kills the worker
max_requests = 0  # a worker that restarts after some requests would drop all its connections
control_socket_disable = True
loglevel = settings.server.log_level
proc_name = "notifier"


def on_starting(server: Any) -> None:
    """Start what the workers need, in the master."""
    if server.cfg.is_ssl:
        sys.exit(
            "Notifier cannot start with a certificate: it cannot take over a socket that gunicorn has wrapped in TLS. "
            "Terminate TLS in a proxy such as nginx, Caddy or HAProxy."
        )
    if os.path.basename(os.environ[METRICS]).startswith(OURS):
        at_exit(lambda: shutil.rmtree(os.environ[METRICS], ignore_errors=True))
    try:
        require_free(settings.server.bind, os.environ)
    except OSError as error:
        sys.exit(f"Notifier cannot start. NOTIFIER_BIND: it cannot listen at {bind}: {error.strerror}.")
    warn_of_exposed_files(server)
    if settings.broker.redis_url:
        return
    valkey = EmbeddedValkey(settings.server.data_dir)
    try:
        valkey.start()
    except EmbeddedError as error:
        sys.exit(f"Notifier cannot start. {error}")
    os.environ["NOTIFIER_REDIS_URL"] = valkey.url
    configuration.load(os.environ)  # for the workers
    at_exit(valkey.stop)
    threading.Thread(target=valkey.watch, name="valkey", daemon=True).start()


def warn_of_exposed_files(server: Any) -> None:
    """Log which files with secrets every user of the machine can read."""
    for path in settings.exposed_files:
        server.log.warning("Every user can read %s, which has secrets: run chmod o-r on it.", path)


def on_reload(server: Any) -> None:
    """Read the files with secrets again, for the new workers."""
    try:
        configuration.load(os.environ)
    except SettingError as error:
        server.log.error("The settings stay as they were. %s", error)


def at_exit(clean_up: Any) -> None:
    """Call `clean_up` when the master ends, for whatever reason. Workers inherit this, and do nothing."""
    master = os.getpid()
    atexit.register(lambda: clean_up() if os.getpid() == master else None)


def when_ready(server: Any) -> None:
    """Bound answers that are not read. Print in development mode what to open, and how to publish."""
    bound_writes(listener.sock for listener in server.LISTENERS)
    if not settings.server.dev:
        return
    store_address(settings.server.data_dir, settings.server.bind)
    address = settings.server.bind if not settings.server.bind.startswith("unix:") else "localhost"
    server.log.info("Development mode. Open http://%s/ in a browser, and publish with:", address)
    command = (
        f"curl http://{address}/v1/notifications --json '"
        '{"to": {"users": ["alice"]}, "title": "Hello"}'
        f'\' -H "Authorization: Bearer $(cat {settings.server.data_dir / API_KEY_FILE})"'
    )
    print(f"\n    {command}\n", file=sys.stderr, flush=True)


def post_worker_init(worker: Any) -> None:
    """Start the node, now that the worker is patched and the application is loaded."""
    logging.basicConfig(
        level=settings.server.log_level.upper(),
        format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
    )
    worker.pace = worker.pace._replace(seconds=settings.limits.response_timeout, rate=settings.limits.response_rate)
    start_node(worker.wsgi.extensions["notifier"], lambda: worker.alive)
    threading.Thread(target=watch_connections, args=(worker,), name="connections", daemon=True).start()


def watch_connections(worker: Any) -> None:
    """Close idle connections when places run out, and all connections when the worker ends.

    That is once it accepts no new ones: any earlier, the worker would still have to accept clients. Without it,
    gunicorn would wait for the connections, and then kill the worker.
    """
    memory, node = FreedMemory(), worker.wsgi.extensions["notifier"]
    while any(listener.fileno() >= 0 for listener in worker.sockets):
        time.sleep(0.2)
        give_way()  # first, connections whose requests have arrived have their turn
        worker.idle.make_room()
        for connections in (worker.idle.take_peak(), len(worker.idle)):  # many come and go between two looks
            memory.note(connections + len(node.connections))
    node.drain()
    while True:
        worker.idle.close()
        time.sleep(0.2)


def worker_exit(server: Any, worker: Any) -> None:
    """Close the worker's connections first."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["notifier"].drain()


def child_exit(server: Any, worker: Any) -> None:
    """Remove the connections of a worker that has ended from the metrics."""
    prometheus_client.multiprocess.mark_process_dead(worker.pid, os.environ[METRICS])
