"""Requests: from their beginning to their end, through the front and the credentials."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from gevent import GreenletExit
from werkzeug import Request, Response

from notifier.errors import InvalidApiKey, InvalidToken, RateLimited, TokenExpired
from notifier.http import body
from notifier.http.front import Front
from notifier.http.sharing import Sharing
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.requests import RequestLimits
from notifier.limits.responses import ResponseMemory
from notifier.limits.users import UserLimits
from notifier.protocol import identity
from notifier.protocol.api_key import ApiKey
from notifier.protocol.forwarded import parse
from notifier.settings import AuthSettings
from tests.kit.cases import every, rows
from tests.kit.credentials import credentials_of
from tests.kit.requests import request_of

SECRET, KEY = "the-secret-of-these-tests-" * 2, ApiKey("shop", "a-key-of-these-tests")
MADE = ApiKey("made", "a-key-that-shop-has-made", users=("x",), holder="shop")
TENANTS = [ApiKey(f"{name}-{number}", f"key-{number}-of-{name}-1", tenant=name) for name in "ab" for number in "12"]
PATH = "/v1/notifications"


class Service:
    """A front with low limits, whose application runs what a test sets."""

    def __init__(self, **settings: Any) -> None:
        low = {"address_requests": 2, "user_requests": 1, "key_requests": 1, "address_failure_rate": 0.1}
        limits = LimitSettings(**low | settings)
        users, keys = UserLimits(limits, 10), KeyLimits(limits)
        clients = ClientAddresses(parse("10.0.0.0/8"))
        self.memory = ResponseMemory(limits)
        self.limits = RequestLimits(clients, AddressLimits(limits), users, keys, self.memory)
        verify = lambda token: identity.verify(token, (SECRET,), time.time())  # noqa: E731
        self.credentials = credentials_of(AuthSettings(api_keys=(KEY, MADE, *TENANTS)), verify, self.limits)
        self.within: Any = lambda request: None
        sharing = Sharing(self.credentials)
        self.body: Any = None  # of the answers of the application
        self.front = Front(self._flask, PATH, self._publish, "worker", limits=self.limits, sharing=sharing)

    def _publish(self, request: Request) -> Response:
        self.within(request)
        return Response("done")

    def _flask(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        answer = self._publish(Request(environ))(environ, start_response)
        return answer if self.body is None else self.body

    def request(self, client: str = "198.51.100.1", within: Any = lambda request: None, **headers: str) -> Response:
        """Return the answer to a request; `within` is called while it is in flight."""
        self.within = within
        request = request_of(b"{}", content_type="application/json", x_forwarded_for=client, **headers)
        request.environ["REMOTE_ADDR"] = "10.0.0.1"
        return Response.from_app(self.front, request.environ, buffered=True)

    def answer(self, within: Any = lambda request: None, method: str = "POST", **headers: str) -> tuple[Any, Any]:
        """Return the answer to a request, which the server has to write and to close, and the environ."""
        self.within = within
        given: dict[str, Any] = {"x_forwarded_for": "198.51.100.1", **headers}
        request = request_of(method=method, content_type="application/json", **given)
        request.environ["REMOTE_ADDR"] = "10.0.0.1"
        start_response: Any = lambda *_: None  # noqa: E731
        return self.front(request.environ, start_response), request.environ


def limit_of(answer: Response) -> str | None:
    return json.loads(answer.get_data())["limit"] if answer.status_code == 429 else None


def token(user: str = "alice", expires_in: float = 60) -> str:
    return identity.sign(user, SECRET, time.time() + expires_in)


def test_addresses() -> None:
    """The concurrent requests of an address are limited. They count until they end, also if they fail."""
    service = Service()
    found = []

    def nested(_: Request) -> None:
        service.request(within=lambda _: found.extend([service.request(), service.request("198.51.100.2")]))

    assert service.request(within=nested).status_code == 200
    assert [limit_of(answer) for answer in found] == ["address_requests", None]
    assert found[0].headers["Access-Control-Allow-Origin"] == "*" and found[0].headers["Retry-After"] == "1"

    def fail(_: Request) -> None:
        raise ZeroDivisionError

    for _ in range(5):
        assert service.request(within=fail).status_code == 500
    assert limit_of(service.request()) is None


@rows("kind", ["user", "key"])
def test_users_and_keys(kind: str) -> None:
    """The concurrent requests of a user and of a key are limited, whatever their addresses."""
    service = Service()
    check = (
        service.credentials.require_identity
        if kind == "user"
        else lambda r: service.credentials.require_key(r, "publish")
    )
    secret = {"authorization": f"Bearer {token() if kind == 'user' else KEY.secret}"}
    found = []

    def nested(request: Request) -> None:
        check(request)
        found.append(service.request("198.51.100.2", check, **secret))

    assert service.request(within=nested, **secret).status_code == 200
    assert [limit_of(answer) for answer in found] == [f"{kind}_requests"]


@rows("key", [KEY, MADE])
def test_made_keys(key: ApiKey) -> None:
    """The requests of a key that a limited key has made count for the limited key."""
    service = Service()
    check = lambda request: service.credentials.require_key(request, "publish")  # noqa: E731
    found = []

    def nested(request: Request) -> None:
        check(request)
        found.append(service.request("198.51.100.2", check, authorization=f"Bearer {MADE.secret}"))

    service.request(within=nested, authorization=f"Bearer {key.secret}")
    assert [limit_of(answer) for answer in found] == ["key_requests"]


@every(limit=["key_requests", "key_exports"])
def test_tenants(limit: str) -> None:
    """Requests and exports of the keys of a tenant count together, and apart from those of other tenants."""
    service = Service(**{"key_requests": 9, "key_exports": 9, limit: 1})
    found: list[str | None] = []

    def enter(request: Request) -> None:
        key = service.credentials.require_key(request, "publish")
        service.limits.enter_export(request.environ, key.load)

    def nested(request: Request) -> None:
        enter(request)
        for each in (TENANTS[1], TENANTS[2], KEY):
            found.append(limit_of(service.request("198.51.100.2", enter, authorization=f"Bearer {each.secret}")))

    service.request(within=nested, authorization=f"Bearer {TENANTS[0].secret}")
    assert found == [limit, None, None]


def test_bytes_of_tenants() -> None:
    """Bodies and answers of the keys of a tenant count together."""
    service = Service(key_requests=9, key_response_bytes=1000)
    found: list[str | None] = []

    def nested(request: Request) -> None:
        service.credentials.require_key(request, "publish")
        service.limits.receive(request.environ, 1000)
        for each in (TENANTS[1], TENANTS[2]):
            answer = service.request("198.51.100.2", receive, authorization=f"Bearer {each.secret}")
            found.append(limit_of(answer))

    def receive(request: Request) -> None:
        service.credentials.require_key(request, "publish")
        service.limits.receive(request.environ, 500)

    service.request(within=nested, authorization=f"Bearer {TENANTS[0].secret}")
    assert found == ["key_response_bytes", None]


def test_failures() -> None:
    """Credentials that are not valid count; those that are missing or have expired do not."""
    service = Service()
    credentials = service.credentials

    def tries(check: Any, error: type[Exception], **headers: str) -> bool:
        found: list[Exception] = []

        def within(request: Request) -> None:
            try:
                check(request, "publish") if check == credentials.require_key else check(request)
            except Exception as raised:
                found.append(raised)
                raise

        service.request(within=within, **headers)
        assert isinstance(found[0], error | RateLimited)
        return isinstance(found[0], RateLimited)

    expired = {"authorization": f"Bearer {token(expires_in=-100)}"}
    for _ in range(50):
        assert not tries(credentials.require_identity, TokenExpired, **expired)
        assert not tries(credentials.require_identity, InvalidToken)
        assert not tries(credentials.require_key, InvalidApiKey)
    wrong = {"authorization": "Bearer wrong"}
    limited = [tries(credentials.require_key, InvalidApiKey, **wrong) for _ in range(4)]
    limited += [tries(credentials.require_identity, InvalidToken, **wrong) for _ in range(4)]
    assert limited == [False] * 7 + [True]
    right = service.request(within=credentials.require_identity, authorization=f"Bearer {token()}")
    assert right.status_code == 200


@rows("method", ["POST", "GET", "HEAD"])
@rows("read", [0, 1, 2, 99])
def test_answers(method: str, read: int) -> None:
    """A request counts until the server closes its answer, read or not, and closing it again changes nothing."""
    service = Service(address_requests=1)
    for _ in range(3):
        answer, _ = service.answer(method=method)
        list(itertools.islice(answer, read))
        assert limit_of(service.request()) == "address_requests"
        answer.close()
        answer.close()
    assert limit_of(service.request()) is None
    assert service.limits.addresses.requests._numbers == {}


@rows("error", [StopIteration, RuntimeError, GreenletExit])
def test_no_answer(error: type[BaseException]) -> None:
    """A request without an answer ends at once: its socket was handed over, or the application has failed."""
    service = Service(address_requests=1)

    def fail(_: Request) -> None:
        raise error

    for _ in range(3):
        with pytest.raises(error):
            service.answer(fail, "GET")
    assert limit_of(service.request()) is None


def test_refused_answers() -> None:
    """An answer that refuses a request counts for nobody, and ends nobody else's request."""
    service = Service(address_requests=1)
    first, _ = service.answer()
    for _ in range(3):
        refused, _ = service.answer()
        assert b"address_requests" in b"".join(refused)
        refused.close()
    assert limit_of(service.request()) == "address_requests"
    first.close()
    assert limit_of(service.request()) is None


@rows("close", [None, ZeroDivisionError])
def test_closed_bodies(close: type[Exception] | None) -> None:
    """The body of an answer is closed too, and the request ends even if that fails."""
    service, closed = Service(address_requests=1), []

    class Body:
        """The body of an answer that is made while it is sent."""

        def __iter__(self) -> Iterator[bytes]:
            yield 5000 * b"x"

        def close(self) -> None:
            closed.append(1)
            if close:
                raise close

    service.body = Body()
    answer, _ = service.answer(method="GET")
    with pytest.raises(close) if close else contextlib.nullcontext():
        answer.close()
    service.body = None
    assert closed == [1] and limit_of(service.request()) is None


class Socket:
    """A socket that notes whether its connection is cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def cut(self) -> None:
        self.is_cut = True


@rows("kind", ["user", "key", "stranger"])
def test_answers_in_memory(kind: str) -> None:
    """Long answers that wait to be read count for the user or key, until each item is written or the answer closed."""
    most = 12_000
    service = Service(
        address_requests=9, user_requests=9, key_requests=9, user_response_bytes=most, key_response_bytes=most
    )
    check: Any = {
        "user": service.credentials.require_identity,
        "key": lambda request: service.credentials.require_key(request, "publish"),
        "stranger": lambda request: None,
    }[kind]
    secret = {"authorization": f"Bearer {token() if kind == 'user' else KEY.secret}"} if kind != "stranger" else {}
    service.body = [6000 * b"x", b"short", 6000 * b"x"]
    sockets, answers = [Socket() for _ in range(3)], []
    for sock in sockets:
        answer, environ = service.answer(check, "GET", **secret)
        environ["gunicorn.socket"] = sock
        answers.append((answer, iter(answer)))
        next(answers[-1][1])
    assert [sock.is_cut for sock in sockets] == [True, False, False] and service.memory.size == 12_000
    next(answers[1][1])
    assert service.memory.size == 6000
    next(answers[1][1])
    for answer, items in answers:
        answer.close()
        list(items)
    assert service.memory.size == 0
    assert [sock.is_cut for sock in sockets] == [True, False, False]


@rows("kind", ["user", "key"])
def test_bodies_in_memory(kind: str) -> None:
    """Bodies that arrive count for the user or key until their requests end, and beyond the limit get 429."""
    service = Service(user_requests=9, key_requests=9, address_requests=9, **{f"{kind}_response_bytes": 12_000})
    credentials = service.credentials
    check: Any = credentials.require_identity if kind == "user" else lambda r: credentials.require_key(r, "publish")
    secret = {"authorization": f"Bearer {token() if kind == 'user' else KEY.secret}"}

    def receive(request: Request) -> None:
        check(request)
        body.hold(request.environ, 8000)

    answers = [service.answer(receive, **secret)[0] for _ in range(2)]
    assert service.memory.size == 16_000
    assert limit_of(service.request(within=receive, **secret)) == f"{kind}_response_bytes"
    for answer in answers:
        answer.close()
    assert service.memory.size == 0 and service.request(within=receive, **secret).status_code == 200


def test_peers() -> None:
    """HTTP connections count for their peer before they have sent a request; those of proxies do not."""
    service = Service(address_requests=1)
    leave = service.limits.enter_peer(("198.51.100.1", 5))
    with pytest.raises(RateLimited):
        service.limits.enter_peer(("198.51.100.1", 6))
    for _ in range(5):
        service.limits.enter_peer(("10.0.0.1", 5))()
    leave()
    service.limits.enter_peer(("198.51.100.1", 7))()
