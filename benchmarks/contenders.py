"""The contenders, and how each is started with one worker on a free port of 127.0.0.1."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import jwt

from benchmarks import process

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
BIN = Path(sys.executable).parent  # not resolved, which would lead out of the virtual environment

TOPIC = "bench"
API_SECRET = "publisher-secret-for-benchmarks-only"
TOKEN_SECRET = "token-secret-for-benchmarks-only-0123456789"
MARK = '{"mark":"%d@%d"}'  # what load.c searches for: number and time of publication
MANY = str(10**9)  # a limit that no machine reaches
START_SECONDS = 20
STOP_SECONDS = 20


class Contender:
    """The properties of a service that the measures need: its paths, formats and command."""

    name = stream = publish = ready = ""
    headers = {}
    accepted = '"published"'  # occurs in the answer once per accepted notification
    directory = PEERS

    def available(self):
        """Return whether it can be started."""
        return True

    def command(self, port, data):
        """Return the command line."""
        raise NotImplementedError

    def environment(self, port, data):
        """Return additional environment variables."""
        return {}

    def hello(self, user):
        """Return the first message of a connection, or None if there is none."""
        return None

    def notification(self, text_bytes, **members):
        """Return one line of JSON with a body of `text_bytes`, and placeholders for its number and time."""
        record = {**members, "title": "benchmark", "body": "x" * text_bytes, "data": 0}
        return json.dumps(record, separators=(",", ":")).replace('"data":0', f'"data":{MARK}').encode()

    def unreceived(self, text_bytes):
        """Return a notification that nobody receives, to measure how fast it is accepted."""
        return self.notification(text_bytes)

    def worker(self, pid):
        """Return the process that has the connections, given the one that was started."""
        return pid


class Notifier(Contender):
    """The service of this repository, with its embedded Valkey."""

    name = "notifier"
    stream, publish, ready = "/v1/stream", "/v1/notifications", "/readyz"
    headers = {"Authorization": f"Bearer {API_SECRET}"}
    accepted = '"created_at"'
    directory = ROOT

    def available(self):
        """Return whether the service exists."""
        return (ROOT / "wsgi.py").exists()

    def command(self, port, data):
        """Return the production command."""
        return [BIN / "gunicorn", "wsgi:app"]

    def environment(self, port, data):
        """Return the settings: a temporary data directory, and a history that can store a whole burst."""
        return {
            "NOTIFIER_BIND": f"127.0.0.1:{port}",
            "NOTIFIER_WORKERS": "1",
            "NOTIFIER_DATA_DIR": data,
            "NOTIFIER_API_KEYS": f"bench:{API_SECRET}",
            "NOTIFIER_TOKEN_SECRETS": TOKEN_SECRET,
            "NOTIFIER_MAX_HISTORY": "100000",
            # One key publishes, and one user acts, as fast as the machine allows.
            "NOTIFIER_KEY_PUBLISH_RATE": MANY,
            "NOTIFIER_KEY_RECIPIENT_RATE": MANY,
            "NOTIFIER_USER_ACTION_RATE": MANY,
        }

    def hello(self, user):
        """Return a hello frame with the user's token."""
        claims = {"sub": user, "exp": int(time.time()) + 3600, "topics": [TOPIC]}
        token = jwt.encode(claims, TOKEN_SECRET, "HS256")
        return json.dumps({"type": "hello", "token": token, "topics": [TOPIC]}, separators=(",", ":"))

    def notification(self, text_bytes, to=None, retain="history"):
        """Return a notification to the topic that all connections are subscribed to."""
        return super().notification(text_bytes, to=to or {"topics": [TOPIC]}, retain=retain)

    def unreceived(self, text_bytes):
        """Return a notification to a user who is not connected."""
        return self.notification(text_bytes, to={"users": ["nobody"]}, retain="inbox")

    def worker(self, pid):
        """Return gunicorn's only worker; the other child of the master is Valkey."""
        return gunicorn_worker(pid)


class FlaskSock(Contender):
    """A plain flask-sock app on the same gunicorn worker."""

    name = "flask-sock"
    stream, publish, ready = "/ws", "/publish", "/ready"

    def command(self, port, data):
        """Return gunicorn's command; a WebSocket takes one of its worker connections."""
        worker = ["--worker-class", "gevent", "--workers", "1", "--worker-connections", "20000"]
        master = ["--log-level", "warning", "--no-control-socket", "--graceful-timeout", "2"]
        return [BIN / "gunicorn", *worker, *master, "--bind", f"127.0.0.1:{port}", "flask_sock_app:app"]

    def worker(self, pid):
        """Return gunicorn's only worker."""
        return gunicorn_worker(pid)


class Aiohttp(Contender):
    """A plain aiohttp app."""

    name = "aiohttp"
    stream, publish, ready = "/ws", "/publish", "/ready"

    def command(self, port, data):
        """Return the app's own command: aiohttp has its own server."""
        return [sys.executable, PEERS / "aiohttp_app.py", str(port)]


CONTENDERS = [Notifier(), FlaskSock(), Aiohttp()]


@dataclass
class Service:
    """A running contender."""

    contender: Contender
    port: int
    worker: int  # process id


def gunicorn_worker(master):
    """Return the child of gunicorn's master that runs gunicorn."""
    workers = [pid for pid in process.children(master) if "gunicorn" in process.command_line(pid)]
    if len(workers) != 1:
        raise RuntimeError(f"expected one worker of gunicorn, found {len(workers)}")
    return workers[0]


@contextlib.contextmanager
def running(contender):
    """Start a contender, wait until it is ready, and stop it at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as data:
        log = Path(data, "output")
        with log.open("wb") as output:
            started = subprocess.Popen(
                [str(word) for word in contender.command(port, data)],
                cwd=contender.directory,
                env=clean_environment() | contender.environment(port, data),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_ready(contender, port, started, log)
            yield Service(contender, port, contender.worker(started.pid))
        finally:
            stop(started)


def free_port():
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment():
    """Return the environment without variables that configure a contender."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("NOTIFIER_", "GUNICORN_"))}


def wait_until_ready(contender, port, started, log):
    """Wait until the contender answers 200, or raise an error with its output."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"http://127.0.0.1:{port}{contender.ready}", timeout=2).status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{contender.name} did not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def stop(started):
    """Terminate a contender, and kill what is left of its process group."""
    with contextlib.suppress(ProcessLookupError):
        started.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()
