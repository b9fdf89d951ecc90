"""gunicorn's configuration: gevent workers, the embedded Valkey, and the life of each worker's node."""

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

from notifier.server.development import provide_secrets
from notifier.server.embedded_valkey import EmbeddedError, EmbeddedValkey
from notifier.settings import SettingError, Settings

try:
    settings = Settings.from_environ(os.environ)
    if settings.server.dev:
        provide_secrets(settings.server.data_dir, os.environ)
        settings = Settings.from_environ(os.environ)
    settings.require_secrets()
except SettingError as error:
    sys.exit(f"Notifier cannot start. {error}")

# Shared by the workers, which inherit it. The library looks for it when it is imported; a reload finds it again.
METRICS, OURS = "PROMETHEUS_MULTIPROC_DIR", "notifier-metrics-"
if METRICS not in os.environ:
    os.environ[METRICS] = tempfile.mkdtemp(prefix=OURS)

import prometheus_client.multiprocess

bind = settings.server.bind
workers = settings.server.workers
worker_class = "notifier.server.worker.Worker"
worker_connections = 4000  # idle and busy HTTP connections; those that were handed off do not count
keepalive = 20  # seconds; also how long a request's head may take
limit_request_line = 8190  # bytes, the most that gunicorn can limit: plain requests name all their topics there
timeout = 60
graceful_timeout = int(settings.connections.drain_timeout) + 8  # at this mark gunicorn kills
max_requests = 0  # a worker that restarts after so many requests would drop all its connections
control_socket_disable = True
loglevel = settings.server.log_level
proc_name = "notifier"


def on_starting(server: Any) -> None:
    """Start what the workers need, in the master."""
    if server.cfg.is_ssl:
        sys.exit(
            "Notifier cannot start. TLS is the proxy's job: a socket that gunicorn has wrapped cannot be handed "
            "off. Start it without a certificate and let nginx, Caddy or HAProxy terminate TLS."
        )
    if os.path.basename(os.environ[METRICS]).startswith(OURS):
        at_exit(lambda: shutil.rmtree(os.environ[METRICS], ignore_errors=True))
    if settings.broker.redis_url:
        return
    valkey = EmbeddedValkey(settings.server.data_dir)
    try:
        valkey.start()
    except EmbeddedError as error:
        sys.exit(f"Notifier cannot start. {error}")
    os.environ["NOTIFIER_REDIS_URL"] = valkey.url  # inherited by the workers
    at_exit(valkey.stop)
    threading.Thread(target=valkey.watch, name="valkey", daemon=True).start()


def at_exit(clean_up: Any) -> None:
    """Do something when the master ends, however it ends; its workers inherit this, and do nothing."""
    master = os.getpid()
    atexit.register(lambda: clean_up() if os.getpid() == master else None)


def when_ready(server: Any) -> None:
    """Say what to open."""
    if not settings.server.dev:
        return
    address = settings.server.bind if not settings.server.bind.startswith("unix:") else "localhost"
    server.log.info("Development mode. Open http://%s/ in a browser, and publish with:", address)
    command = (
        f"curl http://{address}/v1/notifications --json '"
        '{"to": {"users": ["alice"]}, "title": "Hello"}'
        f"' -H 'Authorization: Bearer {settings.auth.api_keys[0].secret}'"
    )
    print(f"\n    {command}\n", file=sys.stderr, flush=True)


def post_worker_init(worker: Any) -> None:
    """Begin to hear and to keep time, now that the worker is patched and the application is loaded."""
    logging.basicConfig(
        level=settings.server.log_level.upper(),
        format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
    )
    worker.wsgi.extensions["notifier"].start()
    threading.Thread(target=drain_when_told, args=(worker,), name="drain", daemon=True).start()


def drain_when_told(worker: Any) -> None:
    """Send the connections away when the worker ends, as soon as it accepts no more.

    Earlier, newcomers would have to be refused. And gunicorn would only wait, and then kill.
    """
    while any(listener.fileno() >= 0 for listener in worker.sockets):
        time.sleep(0.2)
    worker.wsgi.extensions["notifier"].drain()
    while True:
        worker.close_idle()
        time.sleep(0.2)


def worker_exit(server: Any, worker: Any) -> None:
    """Let the worker's connections go first."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["notifier"].drain()


def child_exit(server: Any, worker: Any) -> None:
    """Count the connections of a worker that has ended no more."""
    prometheus_client.multiprocess.mark_process_dead(worker.pid, os.environ[METRICS])
