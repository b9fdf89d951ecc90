"""A real service for tests: `notifier serve` with a temporary data directory."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx

from notifier.client import Inbox, NotifierClient, Stream
from notifier.client.checks import Names, names_of
from notifier.protocol import identity

_PATIENCE = 60.0  # seconds


class NotifierService:
    """A service on a free port. Publishers need `url` and `api_key`, listeners a token from `token`.

    Settings have the names of their variables without NOTIFIER_, in lower case: `NotifierService(heartbeat=1)`.
    """

    def __init__(self, **settings: object) -> None:
        self.api_key = "nk_" + secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(36)
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="notifier-"))  # a short path: it holds a Unix socket
        self._process: subprocess.Popen[bytes] | None = None
        self._users = contextlib.ExitStack()  # the clients of inboxes
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """The service's log so far."""
        return (self._directory / "service.log").read_text()

    def start(self) -> None:
        """Start the service and wait until it is ready.

        Raises:
            RuntimeError: it has ended, or was not ready in time.
        """
        # The service inherits the listening socket, so no other process can take its port.
        with socket.create_server(("127.0.0.1", 0)) as listener, (self._directory / "service.log").open("ab") as log:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "notifier", "serve", "--workers", "1", "--bind", f"fd://{listener.fileno()}"],
                env=self._environ(),
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"The service does not start:\n{self.log}")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop the service and delete its data."""
        self._users.close()
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def token(self, user: str, topics: Names = (), publish: Names = (), expires_in: float = 3600) -> str:
        """Return a token for a user that grants `topics` and `publish`. `expires_in` is in seconds."""
        now = time.time()
        return identity.sign(
            user, self._secret, now + expires_in, tuple(names_of(topics)), tuple(names_of(publish)), issued=now
        )

    def client(self) -> NotifierClient:
        """Return a client with an API key without restrictions."""
        return NotifierClient(self.url, api_key=self.api_key)

    def listen(self, user: str, topics: Names = (), inbox: bool = False) -> Stream:
        """Return a stream for a user, to be used with `with`. `inbox`: it yields `State` events too."""
        return NotifierClient(self.url).listen(topics, token=self.token(user, topics), inbox=inbox)

    def inbox(self, user: str) -> Inbox:
        """Return the inbox of a user."""
        return self._users.enter_context(NotifierClient(self.url)).inbox(token=self.token(user))

    def _environ(self) -> dict[str, str]:
        settings = {
            "api_keys": f"tests:{self.api_key}",
            "token_secrets": self._secret,
            "data_dir": self._directory,
            "drain_timeout": 1,
        } | self._settings
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("NOTIFIER_", "GUNICORN_"))}
        return inherited | {f"NOTIFIER_{name.upper()}": str(value) for name, value in settings.items()}

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
