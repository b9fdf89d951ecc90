"""Requests: from their beginning to their end, through the front and the credentials."""

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from werkzeug import Request, Response

from notifier.errors import InvalidApiKey, InvalidToken, RateLimited, TokenExpired
from notifier.http.front import Front
from notifier.http.sharing import Sharing
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.requests import RequestLimits
from notifier.limits.users import UserLimits
from notifier.protocol import identity
from notifier.protocol.api_key import ApiKey
from notifier.protocol.forwarded import parse
from notifier.settings import AuthSettings
from tests.kit.credentials import credentials_of
from tests.kit.requests import request_of

SECRET, KEY = "the-secret-of-these-tests-" * 2, ApiKey("shop", "a-key-of-these-tests")
PATH = "/v1/notifications"


class Service:
    """A front with low limits, whose application runs what a test sets."""

    def __init__(self, **settings: Any) -> None:
        low = {"address_requests": 2, "user_requests": 1, "key_requests": 1, "address_failure_rate": 0.1}
        limits = LimitSettings(**low | settings)
        users, keys = UserLimits(limits, 10, lambda _: 0), KeyLimits(limits)
        clients = ClientAddresses(parse("10.0.0.0/8"))
        self.limits = RequestLimits(clients, AddressLimits(limits), users, keys)
        verify = lambda token: identity.verify(token, (SECRET,), time.time())  # noqa: E731
        self.credentials = credentials_of(AuthSettings(api_keys=(KEY,)), verify, self.limits)
        self.within: Any = lambda request: None
        sharing = Sharing(self.credentials)
        self._front = Front(self._flask, PATH, self._publish, "worker", limits=self.limits, sharing=sharing)

    def _publish(self, request: Request) -> Response:
        self.within(request)
        return Response("done")

    def _flask(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._publish(Request(environ))(environ, start_response)

    def request(self, client: str = "198.51.100.1", within: Any = lambda request: None, **headers: str) -> Response:
        """Return the answer to a request; `within` is called while it is in flight."""
        self.within = within
        request = request_of(b"{}", content_type="application/json", x_forwarded_for=client, **headers)
        request.environ["REMOTE_ADDR"] = "10.0.0.1"
        return Response.from_app(self._front, request.environ)


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


@pytest.mark.parametrize("kind", ["user", "key"])
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
