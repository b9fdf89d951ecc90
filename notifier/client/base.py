"""The common parts of the clients for threads and for asyncio: everything except waiting."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx

from notifier.client.answer import Answer
from notifier.client.backend_calls import BackendCalls
from notifier.client.calls import Calls, Exchange
from notifier.client.checks import Names, names_of
from notifier.client.configuration import MAX_ANSWER, Configuration, failure, require_token
from notifier.client.errors import Unreachable
from notifier.client.events import Position
from notifier.client.inbox import Counts
from notifier.client.inbox_calls import InboxCalls
from notifier.client.key_calls import KeyCalls
from notifier.client.steps import Close, Connect, FetchToken, Receive, Send, Step, Wait
from notifier.client.stream import Listener

Token = TypeVar("Token")  # what a caller's function returns: a token, or for asyncio perhaps an awaitable of one


class ClientBase:
    """A configured client. `timeout` limits one attempt, `deadline` a call with all its attempts, in seconds."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        token: str | None = None,
        timeout: float = 10.0,
        deadline: float = 60.0,
    ) -> None:
        self._configuration = Configuration.of(url, api_key, token)
        self._calls = Calls(self._configuration.url, self._configuration.api_key, timeout, deadline)
        self._backend = BackendCalls(self._calls)
        self._keys = KeyCalls(self._calls)
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The URL of the service."""
        return self._configuration.url

    def _listener(
        self,
        topics: Names,
        since: str | Position | None,
        may_refresh: bool,
        deadline: float | None,
        inbox: bool,
    ) -> Listener:
        return Listener(
            names_of(topics), since, may_refresh, self._calls.deadline if deadline is None else deadline, inbox
        )

    def _inbox_calls(self, token: str | None) -> InboxCalls:
        return InboxCalls(self._calls, self._static(token)())

    def _static(self, token: str | None) -> Callable[[], str]:
        """Return a function that always returns the same token."""
        given = token or self._configuration.token
        return lambda: require_token(given)


class Reading:
    """Reads the answer to an exchange within its timeout and a size limit."""

    def __init__(self, base: str, step: Exchange, clock: Callable[[], float]) -> None:
        request = step.request
        self.url = base + request.path
        self.options: dict[str, Any] = {
            "method": request.method,
            "url": self.url,
            "headers": request.headers,
            "content": request.body,
            "timeout": step.timeout,
        }
        self._clock = clock
        self._end = clock() + step.timeout
        self._body = bytearray()

    def add(self, part: bytes) -> None:
        """Add a part of the body.

        Raises:
            httpx.ReadTimeout: the body takes too long, or is too long.
        """
        self._body += part
        if self._clock() > self._end or len(self._body) > MAX_ANSWER:
            raise httpx.ReadTimeout("the answer does not end")

    def answer(self, status: int, headers: Mapping[str, str]) -> Answer:
        """Return the whole answer."""
        return Answer(self.url, status, headers, bytes(self._body))

    def failed(self, error: Exception) -> Unreachable:
        """Return an error of the library as an outcome of the exchange."""
        is_permanent = isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.TooManyRedirects)
        return failure(self.url, error, is_permanent=is_permanent or "Illegal header" in str(error))


class StreamBase(Generic[Token]):
    """A stream: the next step of its listener, and the methods that carry steps out.

    A step that was interrupted is carried out again, so a call for the next event may be cancelled and repeated.
    """

    def __init__(self, listener: Listener, configuration: Configuration, get_token: Callable[[], Token]) -> None:
        self._listener = listener
        self._configuration = configuration
        self._get_token = get_token
        self._steps = listener.steps()
        self._step: Step | None = None
        self._outcome: object = None
        self._verbs: dict[type, Callable[..., Any]] = {
            FetchToken: self._fetch_token,
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            Close: self._leave,
            Wait: self._wait,
        }

    @property
    def position(self) -> Position | None:
        """Where to resume after the last event: pass it to `listen` as `since`. None before the first connection."""
        return self._listener.position

    @property
    def counts(self) -> Counts | None:
        """The latest counts of the user's inbox. None before the first connection, or if the service has no inboxes."""
        return self._listener.counts

    def _next_step(self) -> Step:
        if self._step is None:
            self._step = self._steps.send(self._outcome)
        return self._step

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Send):
            self._done(None)  # the library may send the text even if the call is cancelled
        return self._verbs[type(step)](*step)

    def _done(self, outcome: object) -> None:
        self._step, self._outcome = None, outcome

    def _fetch_token(self) -> Any:
        raise NotImplementedError

    def _connect(self, token: str, timeout: float) -> Any:
        raise NotImplementedError

    def _send(self, text: str) -> Any:
        raise NotImplementedError

    def _receive(self, timeout: float) -> Any:
        raise NotImplementedError

    def _leave(self) -> Any:
        raise NotImplementedError

    def _wait(self, seconds: float) -> Any:
        raise NotImplementedError
