"""Invalid use of `/v1/stream`, and that it does not affect other clients."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.raw import CLOSE, HANDSHAKE, PING, PONG, TEXT, Peer, frame, handshake, text
from tests.kit.segments import both_ways
from tests.kit.service import PROBLEM, TOKEN_SECRETS, Answer, Client, Service
from tests.kit.waiting import DEADLINE, eventually

MAX_MESSAGE, MAX_TOPICS = 4096, 3
HASTE = 3  # seconds: a busy machine seldom takes longer for a hello, or for the answer to a ping
FRIEND = "https://app.example"


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A service with small limits and one worker, which also serves the witness.

    It has patience: a busy machine may need more than a second for a hello, or for the answer to a ping.
    """
    with Service(
        workers=1,
        hello_timeout=DEADLINE,
        heartbeat=DEADLINE,
        max_message_bytes=MAX_MESSAGE,
        max_subscriptions=MAX_TOPICS,
        allowed_origins=FRIEND,
    ) as service:
        yield service


@pytest.fixture(scope="module")
def hasty() -> Iterator[Service]:
    """A service with short timeouts, which the witness keeps."""
    haste = {"hello_timeout": HASTE, "heartbeat": HASTE, "lag_timeout": 2}
    with Service(workers=1, max_message_bytes=MAX_MESSAGE, **haste) as service:
        yield service


@pytest.fixture
def witness(strict: Service) -> Iterator[Client]:
    with strict.client("witness") as witness:
        yield witness


@pytest.fixture(autouse=True)
def others_are_served(strict: Service, witness: Client) -> Iterator[None]:
    """After each test, another connection of the same worker still receives notifications."""
    yield
    assert_alive(strict, witness)


@pytest.fixture
def stranger(strict: Service) -> Iterator[Client]:
    """A connection that has not sent its hello."""
    with strict.connect() as stranger:
        yield stranger


@pytest.fixture
def alice(strict: Service) -> Iterator[Client]:
    """A connection that has been welcomed and may read `orders`, `news` and `project:*`."""
    grants = ["orders", "news", "project:*"]
    with strict.client("alice", token=strict.token("alice", grants)) as alice:
        yield alice


def assert_alive(service: Service, witness: Client) -> None:
    title = str(uuid4())
    assert service.publish({"to": {"users": ["witness"]}, "title": title}).status == 201
    while witness.receive("notification")["notification"]["title"] != title:
        pass


def assert_lives(client: Client) -> None:
    assert client.ask("unsubscribe", topic="nothing")["type"] == "ok"


def refusal(service: Service, *, split: bool = False, **headers: str) -> Answer:
    answer = service.exchange(handshake("GET /v1/stream HTTP/1.1", headers), split=split)
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json["status"] == answer.status
    return answer


def bad_token(service: Service, fault: str) -> str:
    claims: dict[str, Any] = {"sub": "alice", "exp": int(time.time()) + 3600}
    match fault:
        case "empty":
            return ""
        case "garbage":
            return "no.jwt.at all"
        case "cut":
            return service.sign(claims)[:-5]
        case "alg none":
            return service.sign(claims, None, "none")
        case "alg HS512":
            return service.sign(claims, TOKEN_SECRETS[0] * 2, "HS512")
        case "wrong secret":
            return service.sign(claims, "a-secret-that-the-service-does-not-know")
        case "expired":
            return service.sign(claims | {"exp": int(time.time()) - 10})
        case "not yet valid":
            return service.sign(claims | {"nbf": int(time.time()) + 3600})
    if fault.startswith("no "):
        del claims[fault.removeprefix("no ")]
        return service.sign(claims)
    return service.sign(claims | json.loads(fault))


BAD_TOKENS = [
    "empty",
    "garbage",
    "cut",
    "alg none",
    "alg HS512",
    "wrong secret",
    "expired",
    "not yet valid",
    "no sub",
    "no exp",
    '{"sub": ""}',
    '{"sub": "al ice"}',
    '{"sub": "{alice}"}',
    '{"sub": "al\\nice"}',
    '{"sub": "\\ud800"}',
    '{"sub": 7}',
    '{"sub": null}',
    '{"exp": "tomorrow"}',
    '{"exp": true}',
    '{"exp": null}',
    '{"topics": "orders"}',
    '{"topics": [7]}',
    json.dumps({"topics": ["t"] * 101}),
    '{"publish": {}}',
]
bad_tokens = pytest.mark.parametrize("fault", BAD_TOKENS, ids=lambda fault: fault[:30])

NO_FRAMES = [
    pytest.param("hello", id="no JSON"),
    pytest.param("", id="empty"),
    pytest.param('{"type":"hello"', id="cut JSON"),
    pytest.param('{"type":"hello"}{}', id="two documents"),
    pytest.param("[]", id="array"),
    pytest.param('[{"type":"hello"}]', id="array of a frame"),
    pytest.param("7", id="number"),
    pytest.param('"hello"', id="string"),
    pytest.param("null", id="null"),
    pytest.param("[" * 4000, id="deep"),
    pytest.param(b'{"type":"hello"}', id="binary"),
    pytest.param(b"", id="empty binary"),
]


class TestHello:
    @pytest.mark.parametrize("message", NO_FRAMES)
    def test_no_frame(self, stranger: Client, message: str | bytes) -> None:
        """A message that is not a JSON object in text is a protocol violation."""
        stranger.socket.send(message)
        assert stranger.close_code() == 4500

    @pytest.mark.parametrize(
        "members",
        [
            {"type": "subscribe", "ref": "1", "topic": "orders"},
            {"type": "unsubscribe", "ref": "1", "topic": "orders"},
            {"type": "auth", "ref": "1", "token": "x"},
            {"type": "nonsense"},
            {"type": 7},
            {},
        ],
        ids=str,
    )
    def test_other_frame_first(self, stranger: Client, members: dict[str, Any]) -> None:
        """The first frame must be hello."""
        stranger.socket.send(json.dumps(members))
        assert stranger.close_code() == 4500

    @pytest.mark.parametrize(
        "members",
        [
            {"token": 7},
            {"topics": "orders"},
            {"topics": [7]},
            {"topics": [f"t{number}" for number in range(MAX_TOPICS + 1)]},
            {"since": 7},
            {"since": "yesterday"},
            {"since": "1-2-3"},
            {"since": "-1-0"},
            {"ref": 7},
        ],
        ids=str,
    )
    def test_wrong_member(self, strict: Service, stranger: Client, members: dict[str, Any]) -> None:
        """A hello with an invalid field is a protocol violation."""
        stranger.send("hello", **{"token": strict.token()} | members)
        assert stranger.close_code() == 4500

    def test_twice(self, strict: Service, alice: Client) -> None:
        """A second hello is a protocol violation."""
        alice.send("hello", token=strict.token())
        assert alice.close_code() == 4500

    def test_twice_at_once(self, strict: Service, stranger: Client) -> None:
        """A second hello is a protocol violation also before the first is answered."""
        stranger.send("hello", token=strict.token())
        stranger.send("hello", token=strict.token())
        assert stranger.close_code() == 4500

    @pytest.mark.parametrize("topics", [["secret"], ["", "a b", "{x}", "*"], ["orders*"]], ids=str)
    def test_topic_not_granted(self, strict: Service, stranger: Client, topics: list[str]) -> None:
        """A topic that the token does not grant is missing from the welcome and named in an error."""
        stranger.send("hello", token=strict.token("alice", ["orders"]), topics=["orders", *topics[:2]])
        assert stranger.receive()["topics"] == ["orders"]
        for topic in topics[:2]:
            problem = stranger.receive()["problem"]
            assert (problem["code"], problem["topic"]) == ("forbidden", topic)

    def test_unknown_member(self, strict: Service, stranger: Client) -> None:
        """Unknown fields are ignored, so that a newer client can use an older service."""
        stranger.send("hello", token=strict.token(), colour="blue")
        assert stranger.receive()["type"] == "welcome"


class TestToken:
    @bad_tokens
    def test_in_hello(self, strict: Service, stranger: Client, fault: str) -> None:
        """An invalid token in the hello closes the connection with 4001."""
        stranger.send("hello", token=bad_token(strict, fault))
        assert stranger.close_code() == 4001

    def test_missing(self, stranger: Client) -> None:
        """Without a token in the hello or in the request, the connection is closed with 4001."""
        stranger.send("hello")
        assert stranger.close_code() == 4001

    @both_ways
    @bad_tokens
    def test_in_header(self, strict: Service, fault: str, split: bool) -> None:
        """An invalid token in the header is answered with a problem before the upgrade."""
        answer = refusal(strict, split=split, Authorization=f"Bearer {bad_token(strict, fault)}")
        assert answer.status == 401
        assert answer.json["code"] == ("token_expired" if fault == "expired" else "invalid_token")

    @bad_tokens
    def test_in_auth(self, strict: Service, alice: Client, fault: str) -> None:
        """An invalid new token is answered with an error, and the old one stays valid."""
        answer = alice.ask("auth", token=bad_token(strict, fault))
        assert answer["problem"]["status"] == 401
        assert alice.ask("subscribe", topic="orders")["topics"] == ["orders"]

    def test_huge_expiry(self, strict: Service, stranger: Client) -> None:
        """An expiry beyond the range of dates is invalid, and no server error."""
        stranger.send("hello", token=strict.sign({"sub": "alice", "exp": 10**400}))
        assert stranger.close_code() == 4001

    @pytest.mark.parametrize("secret", TOKEN_SECRETS)
    def test_rotation(self, strict: Service, stranger: Client, secret: str) -> None:
        """A token signed with any of the configured secrets is valid."""
        stranger.send("hello", token=strict.sign({"sub": "alice", "exp": int(time.time()) + 60}, secret))
        assert stranger.receive()["user"] == "alice"

    @both_ways
    def test_header_is_enough(self, strict: Service, split: bool) -> None:
        """A hello needs no token if the request has one."""
        headers = {"Authorization": f"Bearer {strict.token('bob')}"}
        with Peer(strict.port, "/v1/stream", headers, split=split) as peer:
            peer.send(text(type="hello"))
            assert peer.read_json()["user"] == "bob"

    def test_other_users(self, strict: Service, alice: Client) -> None:
        """A new token of another user is answered with an error, and the old one stays valid."""
        answer = alice.ask("auth", token=strict.token("bob", ["secret"]))
        assert answer["problem"]["code"] == "forbidden"
        assert alice.ask("subscribe", topic="secret")["problem"]["code"] == "forbidden"
        assert alice.ask("subscribe", topic="orders")["type"] == "ok"

    def test_narrowed(self, strict: Service, alice: Client) -> None:
        """A new token with fewer topics ends the subscriptions that it does not grant."""
        for topic in ("orders", "news"):
            alice.ask("subscribe", topic=topic)
        assert alice.ask("auth", token=strict.token("alice", ["news"]))["topics"] == ["news"]
        for topic in ("orders", "news"):
            strict.publish({"to": {"topics": [topic]}, "title": topic})
        assert alice.receive("notification")["channel"] == "topic:news"


class TestCookie:
    @pytest.mark.parametrize(
        "origin",
        [
            {},
            {"Origin": ""},
            {"Origin": "null"},
            {"Origin": "https://evil.example"},
            {"Origin": f"{FRIEND}.evil.example"},
            {"Origin": f"{FRIEND}:444"},
            {"Origin": "http://app.example"},
            {"Origin": "127.0.0.1"},
            {"Origin": "http://["},
            {"Origin": "http://[x]"},
        ],
        ids=str,
    )
    @both_ways
    def test_foreign_origin(self, strict: Service, origin: dict[str, str], split: bool) -> None:
        """A cookie from another or an unknown origin is rejected before the upgrade."""
        answer = refusal(strict, split=split, Cookie=f"notifier_token={strict.token()}", **origin)
        assert (answer.status, answer.json["code"]) == (403, "foreign_origin")

    @pytest.mark.parametrize("origin", [{}, {"Origin": "null"}], ids=str)
    @pytest.mark.parametrize("host", ["", "notifier_backend", "not a host"])
    @both_ways
    def test_useless_host(self, strict: Service, host: str, origin: dict[str, str], split: bool) -> None:
        """A Host that is not a real name, as some proxies send, matches no origin."""
        answer = refusal(strict, split=split, Cookie=f"notifier_token={strict.token()}", Host=host, **origin)
        assert (answer.status, answer.json["code"]) == (403, "foreign_origin")

    @both_ways
    @pytest.mark.parametrize("origin", [f"http://{HANDSHAKE['Host']}", FRIEND])
    def test_known_origin(self, strict: Service, origin: str, split: bool) -> None:
        """A cookie from the service's own origin or an allowed one authenticates the user."""
        headers = {"Cookie": f"notifier_token={strict.token('carol')}", "Origin": origin}
        with Peer(strict.port, "/v1/stream", headers, split=split) as peer:
            peer.send(text(type="hello"))
            assert peer.read_json()["user"] == "carol"

    @both_ways
    @bad_tokens
    def test_bad_token(self, strict: Service, fault: str, split: bool) -> None:
        """An invalid token in a cookie is answered with a problem before the upgrade."""
        token = bad_token(strict, fault).replace(" ", "")
        assert refusal(strict, split=split, Cookie=f"notifier_token={token}", Origin=FRIEND).status == 401


class TestFrames:
    @pytest.mark.parametrize("message", NO_FRAMES)
    def test_no_frame(self, alice: Client, message: str | bytes) -> None:
        """After the hello, a message that is not a JSON object in text is a protocol violation."""
        alice.socket.send(message)
        assert alice.close_code() == 4500

    @pytest.mark.parametrize(
        "members",
        [
            {"type": "nonsense"},
            {"type": "Subscribe", "topic": "orders"},
            {"type": 7},
            {"type": None},
            {},
            {"type": "subscribe"},
            {"type": "subscribe", "topic": 7},
            {"type": "subscribe", "topic": None},
            {"type": "subscribe", "topic": ["orders"]},
            {"type": "subscribe", "topic": ""},
            {"type": "subscribe", "topic": "a b"},
            {"type": "subscribe", "topic": "{orders}"},
            {"type": "subscribe", "topic": "project:*"},
            {"type": "subscribe", "topic": "project:\x00"},
            {"type": "subscribe", "topic": "project:" + "x" * 128},
            {"type": "subscribe", "topic": "orders", "since": 7},
            {"type": "subscribe", "topic": "orders", "since": ""},
            {"type": "subscribe", "topic": "orders", "since": "yesterday"},
            {"type": "subscribe", "topic": "orders", "since": "1"},
            {"type": "subscribe", "topic": "orders", "since": "1-2-3"},
            {"type": "subscribe", "topic": "orders", "since": "-1-0"},
            {"type": "subscribe", "topic": "orders", "since": "9" * 30 + "-0"},
            {"type": "unsubscribe"},
            {"type": "unsubscribe", "topic": 7},
            {"type": "auth"},
            {"type": "auth", "token": 7},
        ],
        ids=lambda members: json.dumps(members)[:60],
    )
    def test_invalid(self, alice: Client, members: dict[str, Any]) -> None:
        """A frame of an unknown type or with an invalid field is answered with an error and its ref."""
        alice.socket.send(json.dumps(members | {"ref": "mine"}))
        answer = alice.receive()
        assert (answer["type"], answer["ref"]) == ("error", "mine")
        assert (answer["problem"]["code"], answer["problem"]["status"]) == ("invalid_frame", 422)
        assert_lives(alice)

    @pytest.mark.parametrize("ref", [7, {}, ["mine"], "x" * 65])
    def test_bad_ref(self, alice: Client, ref: object) -> None:
        """An invalid ref is not repeated in the answer."""
        alice.send("subscribe", topic="orders", ref=ref)
        answer = alice.receive()
        assert answer["type"] == "error"
        assert "ref" not in answer
        assert_lives(alice)

    def test_without_ref(self, alice: Client) -> None:
        """A frame without a ref is answered without a ref."""
        alice.send("subscribe", topic="orders")
        answer = alice.receive()
        assert (answer["type"], answer["topics"]) == ("ok", ["orders"])
        assert "ref" not in answer

    def test_topic_not_granted(self, strict: Service, alice: Client) -> None:
        """A topic that the token does not grant is rejected, and none of its notifications arrive."""
        assert alice.ask("subscribe", topic="secret")["problem"]["code"] == "forbidden"
        alice.ask("subscribe", topic="orders")
        for topic in ("secret", "orders"):
            strict.publish({"to": {"topics": [topic]}, "title": topic})
        assert alice.receive("notification")["channel"] == "topic:orders"

    def test_too_many_topics(self, alice: Client) -> None:
        """A topic above the limit is rejected; a topic that is already subscribed may be named again."""
        topics = [f"project:{number}" for number in range(MAX_TOPICS)]
        for topic in topics:
            assert alice.ask("subscribe", topic=topic)["type"] == "ok"
        assert alice.ask("subscribe", topic="orders")["problem"]["code"] == "too_many_subscriptions"
        assert alice.ask("subscribe", topic=topics[0])["topics"] == topics
        alice.ask("unsubscribe", topic=topics[0])
        assert alice.ask("subscribe", topic="orders")["topics"] == [*topics[1:], "orders"]

    def test_future_since(self, alice: Client) -> None:
        """A cursor in the future is answered with the loss of the channel."""
        alice.send("subscribe", ref="mine", topic="orders", since="99999999999999-0")
        assert alice.receive()["channels"] == ["topic:orders"]
        assert alice.receive("ok")["ref"] == "mine"

    def test_too_big(self, alice: Client) -> None:
        """A message above the limit closes the connection with 1009."""
        alice.send("subscribe", topic="x" * MAX_MESSAGE)
        assert alice.close_code() == 1009

    def test_not_utf8(self, strict: Service) -> None:
        """Text that is not UTF-8 closes the connection with 1007."""
        with Peer(strict.port, "/v1/stream") as peer:
            peer.send(frame(TEXT, b'{"type":"\xff"}'))
            assert peer.close_code() == 1007


class TestLeaving:
    def test_reset(self, strict: Service) -> None:
        """A client may end with a TCP reset, before or after its hello."""
        for hello in (b"", text(type="hello", token=strict.token())):
            with Peer(strict.port, "/v1/stream") as peer:
                peer.send(hello)
                peer.reset()


class TestTimeouts:
    @pytest.fixture
    def strict(self, hasty: Service) -> Service:
        """The service with short timeouts, which also serves the witness."""
        return hasty

    def test_late(self, stranger: Client) -> None:
        """A client that sends no hello in time is disconnected with 4003."""
        assert stranger.close_code() == 4003

    def test_expires(self, strict: Service, service: Service) -> None:
        """A client is warned, and disconnected when its token expires, unless it renews it.

        The warning also comes for a token that expires within one heartbeat, as those of `service`.
        """
        with contextlib.ExitStack() as stack:
            renewing, idle, rare = (
                stack.enter_context(each.client("alice", token=each.token("alice", expires_in=10)))
                for each in (strict, strict, service)
            )
            assert 0 <= renewing.receive("expiring")["in"] <= 10
            renewing.ask("auth", token=strict.token("alice"))
            for client in (idle, rare):
                assert 0 <= client.receive("expiring")["in"] <= 10
                assert client.close_code() == 4001
            assert_lives(renewing)

    def test_silence(self, strict: Service) -> None:
        """A client that does not answer pings is disconnected with 4000."""
        with Peer(strict.port, "/v1/stream") as peer:
            peer.send(text(type="hello", token=strict.token()))
            *before, last = peer.frames()
            assert frame_types(before) == {"welcome", "ping"}
            assert (last.opcode, last.close_code) == (CLOSE, 4000)

    def test_pongs(self, strict: Service) -> None:
        """Each heartbeat is a frame and a WebSocket ping; a client that answers the ping stays connected."""
        with Peer(strict.port, "/v1/stream") as peer:
            peer.send(text(type="hello", token=strict.token()))
            assert peer.read_json()["heartbeat"] == HASTE
            for _ in range(2):
                beat = json.loads(peer.read().payload)
                assert beat["type"] == "ping" and int(beat["cursor"].partition("-")[0]) > 0
                ping = peer.read()
                assert ping.opcode == PING
                peer.send(frame(PONG, ping.payload))
            peer.send(text(type="unsubscribe", ref="mine", topic="orders"))
            assert peer.read_json()["ref"] == "mine"

    @pytest.mark.parametrize(
        "path, request_",
        [
            ("/v1/stream", text(type="unsubscribe", ref="r" * 64, topic="orders")),
            ("/v1/stream", text(type="nonsense")),
            ("/v1/stream", frame(PING, b"*" * 125)),
            ("/v1/echo", frame(PING, b"*" * 125)),
            ("/v1/echo", frame(TEXT, b"*" * 125)),
        ],
        ids=["frames", "errors", "pings", "pings of the echo", "echoes"],
    )
    def test_flood(self, strict: Service, user: str, path: str, request_: bytes) -> None:
        """A client that sends requests without reading the answers is disconnected."""
        eventually(lambda: strict.metric("notifier_connections") == 1)  # that of the witness
        with Peer(strict.port, path, receive_buffer=4096) as peer:
            if path == "/v1/stream":
                peer.send(text(type="hello", token=strict.token(user)))
                assert peer.read_json()["type"] == "welcome"
            eventually(lambda: strict.metric("notifier_connections") == 2)
            with contextlib.suppress(ConnectionError, TimeoutError):
                peer.send(*[request_ * 500] * 200)
            eventually(lambda: strict.metric("notifier_connections") == 1)
            try:
                *answers, last = peer.frames()
            except (ConnectionError, EOFError):
                return  # the service could not send a close frame
            assert last.opcode != CLOSE or last.close_code in (4002, 4005)
            assert len(answers) < 500 * 200


def frame_types(frames: list[Any]) -> set[str]:
    return {json.loads(item.payload)["type"] for item in frames if item.opcode == TEXT}


def test_full() -> None:
    """A full worker rejects new connections until one ends, and serves those that it has."""
    with Service(workers=1, max_connections=2) as service, service.client("witness") as witness:
        with service.client("another"):
            for split in (False, True):
                answer = refusal(service, split=split)
                assert (answer.status, answer.json["code"]) == (503, "too_many_connections")
                assert int(answer.headers["Retry-After"]) > 0
            assert_alive(service, witness)
        eventually(lambda: service.request("GET", "/v1/stream", headers=HANDSHAKE).status == 101)


def test_drain() -> None:
    """A stopping service sends `drain` with the time to reconnect, then closes with 1012.

    An echo connection receives only what it sent, and at the end the close frame.
    """
    with Service() as service, Peer(service.port) as echo:
        clients = [service.client("alice") for _ in range(6)]
        assert service.stop() == 0
        for client in clients:
            assert 0 <= client.receive("drain")["retry_after_ms"] <= 1000
            assert client.close_code() == 1012
            client.close()
        assert echo.close_code() == 1012
