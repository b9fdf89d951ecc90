"""Tokens of issuers with public keys, tokens that the service makes, and revocations, on two workers."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from notifier.client import NotifierClient, ProblemError
from tests.kit.issuers import KeyServer, SigningKey, key_server, key_set
from tests.kit.problems import assert_problem
from tests.kit.service import API_KEY, Answer, Service
from tests.kit.waiting import eventually

ISSUER = "https://issuer.example/realms/app"
REFRESH = 10  # seconds, the least
FIRST = SigningKey("RS256")
SENDER, MINTER = "key-that-publishes-only", "key-that-makes-tokens"
KEYS = [
    {"id": "tests", "secret": API_KEY},
    {"id": "sender", "secret": SENDER, "scopes": ["publish"]},
    {"id": "minter", "secret": MINTER, "scopes": ["tokens"], "topics": ["orders", "project:*"]},
]


@pytest.fixture(scope="module")
def server() -> Iterator[KeyServer]:
    with key_server(key_set(FIRST)) as server:
        yield server


@pytest.fixture(scope="module")
def secured(server: KeyServer) -> Iterator[Service]:
    """A service whose users have tokens of an issuer, or tokens that are signed with a secret."""
    issuer = {"issuer": ISSUER, "jwks_url": server.url, "audience": "notifier"}
    with Service(token_issuers=json.dumps([issuer]), jwks_refresh=REFRESH, api_keys=json.dumps(KEYS)) as service:
        yield service


def claims(user: str, **others: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": ISSUER, "aud": ["account", "notifier"], "sub": user, "iat": now, "exp": now + 300} | others


def counts(service: Service, token: str) -> Answer:
    return service.request("GET", "/v1/inbox/counts", headers={"Authorization": f"Bearer {token}"})


def statuses(service: Service, token: str) -> set[int]:
    """Return the statuses with which all workers answer a request with a token."""
    return {answer.status for answer in service.from_each_worker(lambda: counts(service, token))}


def post(service: Service, path: str, body: Any, key: str = API_KEY) -> Answer:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return service.request("POST", path, json.dumps(body), headers)


def hello_code(service: Service, token: str) -> int | None:
    """Return the close code that a hello with a token is answered with."""
    with service.connect() as client:
        client.send("hello", token=token)
        return client.close_code()


class Load:
    """Clients that connect and ask all the time; `failures` are those that were rejected."""

    def __init__(self, service: Service, token: Callable[[], str]) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._service = service
        self._token = token
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(4)

    def __enter__(self) -> "Load":
        self._running = [self._pool.submit(self._run, number % 2 == 0) for number in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for run in self._running:
            run.result()
        self._pool.shutdown()

    def _run(self, streams: bool) -> None:
        while not self._ends.is_set():
            token = self._token()
            try:
                if streams:
                    self._service.client(token=token).close()
                else:
                    assert counts(self._service, token).status == 200
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                print(time.time(), token[:40], streams, self.failures[-1][:200], flush=True)
            self.done += 1


def test_rotation_under_load(secured: Service, server: KeyServer, user: str) -> None:
    """While the issuer rotates its keys, no token is rejected, neither in a sudden rotation nor in a planned one."""
    keys = [FIRST, SigningKey("ES256"), SigningKey("EdDSA")]
    using = [keys[0]]
    with Load(secured, lambda: using[0].sign(claims(user))) as load:
        eventually(lambda: load.done > 50)
        # As Keycloak does: tokens of the new key come at once, and those of the old one are still valid.
        server.body = key_set(keys[0], keys[1])
        using[0] = keys[1]
        before = load.done
        eventually(lambda: load.done > before + 50)
        # As Auth0 does: the next key is in the set for some time before it is used.
        server.body = key_set(keys[1], keys[2])
        published = time.monotonic()
        eventually(lambda: time.monotonic() > published + REFRESH + 1)
        using[0] = keys[2]
        before = load.done
        eventually(lambda: load.done > before + 50)
    assert not load.failures
    old = keys[0].sign(claims(user))
    eventually(lambda: 200 not in statuses(secured, old))


def test_policy(secured: Service, server: KeyServer, user: str) -> None:
    """Tokens for other services, for other purposes, or that were tampered with are rejected in each place."""
    key, foreign = SigningKey(), SigningKey()
    server.body = key_set(key)
    good = key.sign(claims(user))
    eventually(lambda: statuses(secured, good) == {200})
    assert secured.client(token=key.sign(claims(user))).welcome["user"] == user
    for token in (
        foreign.sign(claims(user), kid=key.kid),
        key.sign(claims(user, aud="account")),
        key.sign(claims(user, iss="https://other.example")),
        key.sign(claims(user, typ="Refresh")),
        key.sign(claims(user, exp=int(time.time()) + 10**8)),
        key.sign(claims(user), typ="logout+jwt"),
    ):
        assert_problem(counts(secured, token), 401, "invalid_token")
        assert hello_code(secured, token) == 4001


def test_hello_waits_for_keys(user: str) -> None:
    """A hello that needs keys which are being fetched waits for them, and so do the frames behind it.

    Others do not wait, however many strangers do whose keys nobody knows.
    """
    key, begin = SigningKey("ES256"), threading.Event()
    with key_server(key_set(key)) as slow:
        slow.serve = lambda connection: (begin.wait(4), slow.answer(connection))[1]
        issuer = {"issuer": ISSUER, "jwks_url": slow.url, "audience": "notifier"}
        with Service(token_issuers=json.dumps([issuer]), workers=1) as service, service.connect() as client:
            client.send("hello", token=key.sign(claims(user, topics=["orders"])))
            client.send("subscribe", ref="1", topic="orders")
            client.send("subscribe", ref="2", topic="orders")
            client.socket.ping().wait(0)
            with contextlib.ExitStack() as stack:
                for number in range(40):
                    stranger = stack.enter_context(service.connect())
                    stranger.send("hello", token=key.sign(claims(user), kid=f"unknown-{number}"))
                assert counts(service, service.token(user)).status == 200
                service.client(f"{user}-2").close()
                begin.set()
                assert client.receive("welcome")["user"] == user
                assert [client.receive("ok")["ref"] for _ in range(2)] == ["1", "2"]


def test_issuer_out_of_order(user: str) -> None:
    """If the keys cannot be fetched, users of the issuer try again later, and all others are not affected."""
    key = SigningKey()
    with key_server(key_set(key)) as server:
        server.status = 500
        issuer = {"issuer": ISSUER, "jwks_url": server.url, "audience": "notifier"}
        with Service(token_issuers=json.dumps([issuer]), workers=1) as service:
            eventually(lambda: server.requests)
            answer = counts(service, key.sign(claims(user)))
            assert_problem(answer, 503, "issuer_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert hello_code(service, key.sign(claims(user))) == 4004
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {key.sign(claims(user))}"}
            events = service.request("GET", "/v1/stream", headers=headers)
            assert (events.status, '"code":4004' in events.text) == (200, True), "an EventSource comes again"
            assert counts(service, service.token(user)).status == 200
            assert service.metric("notifier_jwks_failures_total") >= 1
            with service.client(user) as client:
                answer = client.ask("auth", token=key.sign(claims(user)))
                assert answer["problem"]["code"] == "issuer_unavailable"
            assert f"The keys of {ISSUER} cannot be fetched" in service.log
            server.status = 200
            eventually(lambda: counts(service, key.sign(claims(user))).status == 200, 60)
            status = service.request("GET", "/v1/status", headers={"Authorization": f"Bearer {API_KEY}"}).json
            [listed] = status["issuers"]
            assert (listed["issuer"], listed["keys"]) == (ISSUER, 1)
            assert 0 <= listed["age"] < 60


class TestRevocation:
    def test_user(self, secured: Service, user: str) -> None:
        """All connections that use a token of the user are closed with 4001, on all workers."""
        old = secured.token(user, iat=time.time() - 10)
        other = secured.token(f"{user}-2", iat=time.time() - 10)
        with secured.client(token=other) as bystander, secured.on_each_worker(user) as clients:
            answer = post(secured, "/v1/tokens/revoke", {"user": user})
            assert (answer.status, answer.json["user"]) == (200, user)
            assert [client.close_code() for client in clients] == [4001, 4001]
            for answer in secured.from_each_worker(lambda: counts(secured, old)):
                assert_problem(answer, 401, "invalid_token")
            assert "revoked" in counts(secured, old).json["detail"]
            assert hello_code(secured, old) == 4001
            new = secured.token(user, iat=time.time() + 0.001)
            assert secured.client(token=new).welcome["user"] == user
            assert bystander.ask("subscribe", topic="orders")["problem"]["code"] == "forbidden"

    def test_plain_streams(self, secured: Service, user: str) -> None:
        """A stream of events ends, too."""
        token = secured.token(user, iat=time.time() - 10)
        connection = secured.dial()
        connection.request(
            "GET", "/v1/stream", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        )
        answer = connection.getresponse()
        assert b"retry" in answer.fp.readline()
        post(secured, "/v1/tokens/revoke", {"user": user})
        assert "4001" in answer.read().decode()
        connection.close()

    def test_token(self, secured: Service, user: str) -> None:
        """One token is revoked by its id; other tokens of the user stay valid."""
        minted = [post(secured, "/v1/tokens", {"user": user}).json for _ in range(2)]
        with secured.client(token=minted[0]["token"]) as first, secured.client(token=minted[1]["token"]) as second:
            answer = post(secured, "/v1/tokens/revoke", {"jti": minted[0]["jti"]})
            assert (answer.status, answer.json) == (200, {"jti": minted[0]["jti"]})
            assert first.close_code() == 4001
            assert second.ask("subscribe", topic="x")["problem"]["code"] == "forbidden"
        assert counts(secured, minted[1]["token"]).status == 200

    def test_renewed(self, secured: Service, user: str) -> None:
        """A connection that has sent a newer token stays open."""
        with secured.client(token=secured.token(user, iat=time.time() - 100)) as client:
            assert client.ask("auth", token=secured.token(user, iat=time.time() - 50))["type"] == "ok"
            post(secured, "/v1/tokens/revoke", {"user": user, "issued_before": time.time() - 75})
            eventually(lambda: counts(secured, secured.token(user, iat=time.time() - 100)).status == 401)
            assert client.ask("subscribe", topic="x")["problem"]["code"] == "forbidden"

    def test_lock(self, secured: Service, user: str) -> None:
        """A user who is disconnected with their tokens revoked cannot reconnect."""
        token = secured.token(user, iat=time.time() - 10)
        url = f"http://127.0.0.1:{secured.port}"
        with secured.client(token=token) as client, NotifierClient(url, api_key=API_KEY) as backend:
            backend.disconnect_user(user, revoke=True)
            assert client.close_code() == 4502
            eventually(lambda: statuses(secured, token) == {401})
            assert hello_code(secured, token) == 4001

    def test_restart(self, user: str) -> None:
        """A restarted service still has the revocations."""
        with Service(workers=1) as service:
            token = service.token(user, iat=time.time() - 10)
            post(service, "/v1/tokens/revoke", {"user": user})
            service.stop()
            service.start()
            eventually(lambda: counts(service, token).status == 401)
            assert hello_code(service, token) == 4001


class TestMinting:
    def test_token(self, secured: Service, user: str) -> None:
        """A token has the requested grants, on all workers, until it expires."""
        asked = {"user": user, "topics": ["orders"], "publish": ["room:*"], "expires_in": 60}
        answer = post(secured, "/v1/tokens", asked)
        assert answer.status == 201
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json["user"] == user
        assert 55 < answer.json["expires"] - time.time() <= 60
        with secured.client(topics=["orders", "news"], token=answer.json["token"]) as client:
            assert (client.welcome["user"], client.welcome["topics"]) == (user, ["orders"])
            assert client.receive("error")["problem"]["topic"] == "news"
            published = client.ask("publish", topic="room:1", notification={"title": "Hello"})
            assert published["type"] == "ok"

    def test_grants(self, secured: Service, user: str) -> None:
        """A key makes tokens only for topics that it grants, and only with the scope."""
        for topics in (["orders"], ["project:7"], ["project:7:*"], ["project:*"]):
            assert post(secured, "/v1/tokens", {"user": user, "topics": topics}, MINTER).status == 201
        for topics in (["news"], ["*"], ["proj*"], ["orders*"]):
            for field in ("topics", "publish"):
                assert_problem(post(secured, "/v1/tokens", {"user": user, field: topics}, MINTER), 403, "forbidden")
        for path, body in [("/v1/tokens", {"user": user}), ("/v1/tokens/revoke", {"user": user})]:
            assert_problem(post(secured, path, body, SENDER), 403, "forbidden")
            assert_problem(post(secured, path, body, "no-key-at-all"), 401, "invalid_api_key")
            assert_problem(post(secured, path, {}), 422, "invalid_token_request")

    def test_client(self, secured: Service, user: str) -> None:
        """The Python client makes and revokes tokens."""
        with NotifierClient(f"http://127.0.0.1:{secured.port}", api_key=API_KEY) as backend:
            token = backend.create_token(user, topics=["orders"], expires_in=60)
            inbox = backend.inbox(token=token)
            assert inbox.counts().unread == 0
            backend.revoke_tokens(user, issued_before=time.time() + 1)
            eventually(lambda: counts(secured, token).status == 401)
            with pytest.raises(ProblemError, match="invalid_token_request"):
                backend.create_token(user, expires_in=0)

    def test_no_secret(self) -> None:
        """A service without secrets makes no tokens, but starts."""
        issuer = {"issuer": ISSUER, "jwks": json.loads(key_set(SigningKey()))}
        with Service(token_issuers=json.dumps([issuer]), token_secrets="", workers=1) as service:
            assert_problem(post(service, "/v1/tokens", {"user": "alice"}), 404, "not_found")
            assert post(service, "/v1/tokens/revoke", {"user": "alice"}).status == 200
