"""`notifier doctor`: checks a service from outside, through its proxies, and says what to change."""

import contextlib
import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import click
import httpx
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from notifier.cli.failure import FAILED, Failure
from notifier.cli.lines import count_of
from notifier.cli.options import Duration, api_key_option, json_option, known_key, local_url, token_option
from notifier.cli.terminal import printable
from notifier.client import NotifierClient, NotifierError
from notifier.client.answer import Answer
from notifier.client.configuration import Configuration, failure
from notifier.client.refused import Refused
from notifier.client.sync.stream import Connection
from notifier.settings import AuthSettings

_TIMEOUT = 10.0  # seconds, of a request
_SOON = 2.0  # seconds: the first bytes of an event stream arrive sooner if nothing buffers them
_FAR = 5.0  # seconds: clocks further apart make tokens expire early or late
_FEW_FILES = 4096
_OLD_KEYS = 3600.0  # seconds
_LEAST = {"redis": (7, 0), "valkey": (7, 2)}


class Finding(NamedTuple):
    """The result of a check: one line."""

    level: Literal["ok", "warn", "fail", "skip"]
    check: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.check}: {self.text}"


@click.command(short_help="Check a service from outside.")
@click.argument("url", envvar="NOTIFIER_URL", default=local_url)
@click.option("--idle", type=Duration(), default="5s", show_default=True, help="How long to keep a connection idle.")
@api_key_option
@token_option
@json_option
def doctor(url: str, idle: float, api_key: str | None, token: str | None, as_json: bool) -> None:
    """Check the service at URL, which should be its public URL.

    Each finding is a line: ok, warn, fail, or skip with what the check needs. With an API key it also checks Redis and
    the limits. --idle 90s finds proxies that close idle connections. The exit code is 1 if a check fails.
    """
    configuration = Configuration.of(url, known_key(url, api_key), token)
    fails = 0
    with httpx.Client(timeout=_TIMEOUT) as http:
        for finding in _Checks(configuration, http, idle).findings():
            fails += finding.level == "fail"
            click.echo(json.dumps(finding._asdict()) if as_json else printable(str(finding)))
    if fails:
        raise Failure(f"{fails} of the checks failed.", FAILED)


class _Checks:
    """The checks of a service."""

    def __init__(self, configuration: Configuration, http: httpx.Client, idle: float) -> None:
        self._configuration = configuration
        self._url = configuration.url
        self._http = http
        self._idle = idle
        self._cookie: str = AuthSettings.cookie
        self._is_local = urlsplit(self._url).hostname in ("localhost", "127.0.0.1", "::1")

    def findings(self) -> Iterator[Finding]:
        """Run the checks, and yield their findings.

        Raises:
            Unreachable, NotNotifier, VersionError, ProblemError: there is no service to check.
        """
        asked = time.time()
        answer = self._get("/healthz")
        answer.checked()
        yield Finding("ok", "service", f"{self._url} runs Notifier {answer.headers['notifier-version']}.")
        yield self._clock(answer, (asked + time.time()) / 2)
        yield from self._encryption()
        yield self._readiness()
        yield from self._metrics()
        yield from self._inside()
        yield from self._upgrade()
        yield from self._origin()
        yield self._events()

    def _get(self, path: str) -> Answer:
        try:
            response = self._http.get(self._url + path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failure(self._url + path, error).with_advice() from error
        return Answer(self._url + path, response.status_code, response.headers, response.content)

    def _clock(self, answer: Answer, now: float) -> Finding:
        date = answer.headers.get("date")
        if not date:
            return Finding("skip", "clock", "The answer has no Date.")
        ahead = parsedate_to_datetime(date).timestamp() + 0.5 - now
        if abs(ahead) > _FAR:
            text = (
                f"The service's clock is {ahead:+.0f} seconds off this one: tokens expire at the wrong time. Use NTP."
            )
            return Finding("warn", "clock", text)
        return Finding("ok", "clock", "The service's clock and this one agree.")

    def _encryption(self) -> Iterator[Finding]:
        if self._url.startswith("http://") and not self._is_local:
            yield Finding(
                "warn",
                "encryption",
                "Keys and tokens are sent unencrypted: use https; a proxy terminates TLS.",
            )

    def _readiness(self) -> Finding:
        answer = self._get("/readyz")
        if answer.status == 200:
            return Finding("ok", "ready", "The worker that answered receives notifications.")
        return Finding("fail", "ready", "The worker that answered has lost Redis: look into the service's log.")

    def _metrics(self) -> Iterator[Finding]:
        if not self._is_local and self._get("/metrics").status == 200:
            yield Finding("warn", "metrics", "Anybody can read /metrics: reject requests from outside in the proxy.")

    def _upgrade(self) -> Iterator[Finding]:
        advice = "Configure the proxy to forward upgrades: HTTP/1.1 and the headers Upgrade and Connection."
        try:
            with self._open("/v1/echo") as socket:
                yield self._echo(socket)
                yield self._endurance(socket)
        except Refused as refused:
            if refused.response.status_code == 404:
                yield Finding("skip", "upgrade", "The service has no /v1/echo: NOTIFIER_ECHO=1 enables it.")
                return
            yield Finding("fail", "upgrade", f"A WebSocket is answered {refused.response.status_code}. {advice}")
        except (OSError, WebSocketException) as error:
            yield Finding("fail", "upgrade", f"A WebSocket does not open: {error}. {advice}")

    def _echo(self, socket: ClientConnection) -> Finding:
        began = time.monotonic()
        for message in ("text: grüße", b"binary: \x00\xff"):
            socket.send(message)
            if socket.recv(_TIMEOUT) != message:
                return Finding("fail", "upgrade", "The echo differs from the message: a proxy changes WebSockets.")
        ms = 500 * (time.monotonic() - began)
        return Finding("ok", "upgrade", f"WebSockets work; the round trip of a message takes {ms:.0f} ms.")

    def _endurance(self, socket: ClientConnection) -> Finding:
        began = time.monotonic()
        try:
            with contextlib.suppress(TimeoutError):
                socket.recv(self._idle)
            socket.send("still there")
            socket.recv(_TIMEOUT)
        except (ConnectionClosed, TimeoutError):
            text = f"An idle connection was closed within {time.monotonic() - began:.0f} seconds."
            return Finding(
                "fail", "idle", f"{text} Raise the proxy's timeouts above NOTIFIER_HEARTBEAT, or lower that."
            )
        more = "" if self._idle >= 60 else " Also try --idle 90s."
        return Finding("ok", "idle", f"A connection that was idle for {self._idle:.0f} seconds stays open.{more}")

    def _origin(self) -> Iterator[Finding]:
        """The Origin of a request is checked before the token in its cookie, so an invalid token is enough."""
        parts = urlsplit(self._url)
        own = self._answer_to_cookie(f"{parts.scheme}://{parts.netloc}")
        foreign = self._answer_to_cookie("https://foreign.invalid")
        if own == 403:
            text = "The service rejects its own origin: forward Host in the proxy, or set NOTIFIER_ALLOWED_ORIGINS."
            yield Finding("fail", "origin", text)
        elif own == 101:
            yield Finding("skip", "origin", "The cookie has another name; with an API key the check finds it.")
        elif own != 401:
            yield Finding("skip", "origin", "Needs WebSockets that pass the proxy.")
        elif foreign != 403:
            yield Finding("warn", "origin", f"A cookie from a foreign page was answered {foreign}, not 403.")
        else:
            yield Finding("ok", "origin", "Own pages may use the cookie, foreign ones may not.")

    def _answer_to_cookie(self, origin: str) -> int:
        cookie = {"Cookie": f"{self._cookie}=no-token", "Origin": origin}
        try:
            with self._open("/v1/stream", additional_headers=cookie):
                return 101
        except Refused as refused:
            return refused.response.status_code
        except (OSError, WebSocketException):
            return 0

    def _events(self) -> Finding:
        """Check whether the first bytes of Server-Sent Events arrive at once."""
        token = self._configuration.token
        if not token:
            return Finding("skip", "events", "Needs a user's token: give --token or set NOTIFIER_TOKEN.")
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        try:
            with self._http.stream("GET", self._url + "/v1/stream", headers=headers, timeout=_SOON) as answer:
                if answer.status_code != 200:
                    return Finding("fail", "events", f"Server-Sent Events are answered {answer.status_code}.")
                if not any(answer.iter_raw()):
                    return Finding("fail", "events", "Server-Sent Events end before they begin.")
        except httpx.TimeoutException:
            text = "Server-Sent Events are buffered: disable that in the proxy, in nginx with proxy_buffering off."
            return Finding("fail", "events", text)
        except httpx.HTTPError as error:
            return Finding("fail", "events", f"Server-Sent Events break: {error}.")
        return Finding("ok", "events", "Server-Sent Events arrive at once.")

    def _inside(self) -> Iterator[Finding]:
        if not self._configuration.api_key:
            yield Finding("skip", "redis", "Needs an API key: give --api-key or set NOTIFIER_API_KEY.")
            return
        try:
            with NotifierClient(self._url, api_key=self._configuration.api_key, deadline=_TIMEOUT) as client:
                status = client.status()
        except NotifierError as error:
            yield Finding("fail", "status", str(error))
            return
        self._cookie = status["cookie"]
        yield from _redis(status["redis"])
        yield from _issuers(status.get("issuers", []))
        yield from _limits(status)

    def _open(self, path: str, **options: Any) -> ClientConnection:
        url = self._configuration.stream_url.removesuffix("/v1/stream") + path
        socket: ClientConnection = connect(
            url,
            create_connection=Connection,
            open_timeout=_TIMEOUT,
            close_timeout=1,
            ping_interval=None,
            compression=None,
            **options,
        )
        return socket


def _redis(redis: dict[str, Any]) -> Iterator[Finding]:
    name, version = redis["server"], redis["version"]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    least = _LEAST.get(name, _LEAST["redis"])
    if numbers < least:
        yield Finding("fail", "redis", f"{name} {version} is too old: {least[0]}.{least[1]} is needed.")
    else:
        yield Finding("ok", "redis", f"{name} {version}.")
    if redis["append_only"]:
        yield Finding("ok", "persistence", "Redis writes an append-only file.")
    else:
        yield Finding("warn", "persistence", "A restart of Redis loses the history: set appendonly yes.")
    if redis["maxmemory_policy"] != "noeviction":
        text = f"At maxmemory Redis evicts history ({redis['maxmemory_policy']}): set maxmemory-policy noeviction."
        yield Finding("fail" if redis["maxmemory"] else "warn", "eviction", text)
    else:
        yield Finding("ok", "eviction", "Redis evicts nothing.")


def _issuers(issuers: list[dict[str, Any]]) -> Iterator[Finding]:
    for issuer in issuers:
        name, keys, age = issuer["issuer"], issuer["keys"], issuer["age"]
        if not keys:
            text = f"The worker that answered has no keys of {name}: look into the service's log."
            yield Finding("fail", "issuer", text)
        elif age is not None and age > _OLD_KEYS:
            yield Finding("warn", "issuer", f"The keys of {name} were last fetched {age / 60:.0f} minutes ago.")
        else:
            yield Finding("ok", "issuer", f"The worker that answered has {keys} keys of {name}.")


def _limits(status: dict[str, Any]) -> Iterator[Finding]:
    files, workers, connections = status["open_files"], status["workers"], status["max_connections"]
    text = (
        f"{count_of(workers, 'worker', 'workers')} with at most {connections:,} connections each; {files:,} open files."
    )
    if files < _FEW_FILES:
        yield Finding("warn", "limits", f"{text} Raise ulimit -n, or LimitNOFILE of the unit.")
    else:
        yield Finding("ok", "limits", text)
