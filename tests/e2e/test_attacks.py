"""Attacks that are bounded: others are served, memory stays, and each attacker is slowed down or closed with its code.

`make attacks` measures how fast others are served during an attack.
"""

import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from attacks import holds, users
from attacks.attackers import Step
from attacks.flooder import Flooder, after, flood_with_frames, run
from attacks.floods import ECHOES, FRAMES, USERS, Flood
from attacks.holds import Hold, Holder
from attacks.measurement import BACK, limits_of, worker_of
from attacks.requests import REQUESTS, RequestFlood, flood_with_requests
from attacks.target import Target
from attacks.tokens import TOKENS, requests_with
from benchmarks.process import resident_bytes
from tests.kit import raw
from tests.kit.raw import Peer
from tests.kit.service import JSON, Service
from tests.kit.waiting import DEADLINE, eventually

_numbers = itertools.count()
PLACES = 120
HTTP_PLACES = 40
ANSWER_408 = re.compile(rb"^HTTP/1\.1 408 ")
SOME_MB = 24 << 20  # the most that a worker may grow under attack; the attacks brought hundreds of megabytes


@pytest.fixture(scope="module")
def target() -> Iterator[Service]:
    """A service with one worker and few places, to which every attack of this module comes.

    It closes no connection for what a busy machine makes late.
    """
    patience: dict[str, object] = {"hello_timeout": 10 * DEADLINE, "heartbeat": 10 * DEADLINE}
    with Service(workers=1, max_connections=PLACES, max_history=2000, **patience) as service:
        serve_others(service)
        yield service


def serve_others(service: Service) -> None:
    """Connect, publish, receive, and act on an inbox, over both ways. Each time it is another user, with new limits."""
    user = f"other-{next(_numbers)}"
    with service.client(user) as client:
        assert service.publish({"to": {"users": [user]}, "title": "x"}).status == 201
        received = client.receive("notification")["notification"]["id"]
        assert client.ask("read", ids=[received])["changed"]
        headers = {"Authorization": f"Bearer {service.token(user)}"}
        assert service.request("POST", "/v1/inbox/archive", {"ids": [received]}, headers).status == 200


def attack(service: Service, floods: list[Flood], each: int, most: int, seconds: float) -> list[Flooder]:
    """Attack with some flooders of each flood, from several addresses, and serve others during the attack."""
    target = Target.of(service)
    flooders = [Flooder(target, flood, number) for flood in floods for number in range(each)]
    thread = threading.Thread(target=run, args=(flooders, after(seconds), most, DEADLINE))
    thread.start()
    try:
        while thread.is_alive():
            serve_others(service)
    finally:
        thread.join()
        for flooder in flooders:
            flooder.close()
    return flooders


@pytest.mark.parametrize(
    ("floods", "each", "most", "seconds"),
    [
        pytest.param(FRAMES, 2, 1 << 20, 8, id="strangers"),
        pytest.param(USERS, 1, 1 << 22, 5, id="users"),
        pytest.param(ECHOES, 2, 1 << 20, 2, id="echoes"),
    ],
)
def test_floods(target: Service, floods: list[Flood], each: int, most: int, seconds: float) -> None:
    """Floods of all kinds at once affect no other user; each ends with an expected code."""
    before = resident_bytes(worker_of(target))
    flooders = attack(target, floods, each, most, seconds)
    wrong = {
        each.flood.name: each.code for each in flooders if each.status == 101 and each.code not in each.flood.codes
    }
    assert wrong == {}
    assert any(each.status == 101 for each in flooders)
    assert resident_bytes(worker_of(target)) - before < SOME_MB
    rest(target, before)
    serve_others(target)


def test_request_floods(target: Service) -> None:
    """Floods of requests of all kinds at once affect no other user, also one at the attacker's address."""
    before = resident_bytes(worker_of(target))
    answers: dict[str, set[int]] = {}

    def flood(each: RequestFlood) -> None:
        """Flood on two connections."""
        answers[each.name] = set(flood_with_requests(Target.of(target), each, 2, DEADLINE, 1 << 19))

    threads = [threading.Thread(target=flood, args=(each,)) for each in REQUESTS]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            serve_others(target)
    finally:
        for thread in threads:
            thread.join()
    unexpected = {each.name: answers[each.name] - {0, *each.statuses} for each in REQUESTS}
    assert not any(unexpected.values()), unexpected
    assert {401, 200} <= set.union(*answers.values())
    assert resident_bytes(worker_of(target)) - before < SOME_MB
    rest(target, before)
    serve_others(target)


PINGS, CLIENTS, ROUNDS = 10_900, 30, 3  # pings of a client, which are 64 KB; clients; rounds of others


def test_bursts() -> None:
    """Others have many turns before a worker has handled what clients have sent at once, with no limit on frames."""
    with Service(workers=1, user_frame_rate=10_000_000) as service, contextlib.ExitStack() as stack:
        target = Target.of(service)
        serve_others(service)
        streams = (users.stream(target, number, target.token, ["room"]) for number in range(CLIENTS))
        clients = [stack.enter_context(each) for each in streams]
        for client in clients:
            client.send(raw.frame(raw.PING) * PINGS + raw.frame(raw.PING, b"last"))
        handled = threading.Event()
        thread = threading.Thread(target=await_last_pongs, args=(clients, handled))
        thread.start()
        rounds = 0
        while not handled.is_set() and rounds < ROUNDS:
            serve_others(service)
            rounds += not handled.is_set()  # a worker without turns handles all frames first
        for client in clients:
            client.reset()
        thread.join()
        assert rounds == ROUNDS


def await_last_pongs(clients: list[Peer], handled: threading.Event) -> None:
    """Read until each client has the pong for its last ping. That is when all frames were handled."""
    with contextlib.suppress(OSError, EOFError, ValueError):  # the test is over
        for client in clients:
            while (frame := client.read()).opcode != raw.PONG or frame.payload != b"last":
                pass
        handled.set()


@pytest.fixture(scope="module")
def proxied() -> Iterator[Service]:
    """A service with few places, which knows the addresses of its clients, and has low limits for them."""
    limits = {"address_handshake_rate": 50, "address_connections": 20, "address_requests": 50}
    patience = {"hello_timeout": 4 * DEADLINE, "attach_timeout": DEADLINE}  # on a busy machine
    with Service(workers=1, max_connections=PLACES, trusted_proxies="127.0.0.0/8", **limits, **patience) as service:
        serve_others(service)
        yield service


def test_places(proxied: Service) -> None:
    """Strangers of some addresses who hold all places, and others who flood, keep no user out, not for a moment."""
    target = Target.of(proxied, is_proxied=True)
    [pings] = [flood for flood in FRAMES if flood.name == "pings"]
    before = limited_total(proxied, "address_strangers")
    with Holder(target, holds.NO_HELLO, PLACES, addresses=8) as holder, attacking() as attack:
        attack(lambda is_over: flood_with_frames(target, pings, 12, is_over, addresses=4))
        attack(lambda is_over: until(is_over, holder.step))
        eventually(lambda: holder.lost > PLACES // 2 and limited_total(proxied, "address_strangers") > before)
        for number in range(10):
            stream = {"X-Forwarded-For": f"192.0.2.{1 + number}"}  # as many strangers as an address may have
            with proxied.connect(additional_headers=stream) as client:
                client.send("hello", token=proxied.token(f"user-{number}"))
                assert client.receive("welcome")
        serve_others(proxied)
    assert proxied.metric("notifier_connections") <= PLACES


@pytest.mark.parametrize(
    ("hold", "limit"),
    [
        (holds.NO_HELLO, "address_handshakes"),
        (holds.EVENTS, "address_connections"),
        (holds.HALF_A_BODY, "address_requests"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_limits_of_addresses(proxied: Service, hold: Hold, limit: str) -> None:
    """The limits of one address refuse its attack; clients with other addresses, and behind none, are served."""
    before = limited_total(proxied, limit)
    with Holder(Target.of(proxied, is_proxied=True), hold, 200, addresses=1) as holder, attacking() as attack:
        attack(lambda is_over: until(is_over, holder.step))
        eventually(lambda: limited_total(proxied, limit) > before)
        serve_others(proxied)
        eventually(lambda: limited_total(proxied, limit) > before + 10)
        serve_others(proxied)


def limited_total(service: Service, limit: str) -> int:
    """Return how often a limit has refused something."""
    return limits_of(service).get(limit, 0)


def until(is_over: Callable[[], bool], step: Callable[[], object]) -> None:
    """Take steps until it is over, with pauses, in which a busy machine can do something else."""
    while not is_over():
        step()
        time.sleep(0.05)


@contextlib.contextmanager
def attacking() -> Iterator[Callable[[Callable[[Callable[[], bool]], object]], None]]:
    """Yield a function that starts an attack in a thread. The attack is passed a function that says when it is over."""
    is_over, attacks = threading.Event(), []
    with ThreadPoolExecutor(8) as pool:
        try:
            yield lambda attack: attacks.append(pool.submit(attack, is_over.is_set))
        finally:
            is_over.set()
        for attack in attacks:
            attack.result()


def rest(service: Service, before: int) -> None:
    """Wait until the memory of the worker is back within 20 percent of what it was before an attack."""
    eventually(lambda: resident_bytes(worker_of(service)) <= BACK * before)


def test_tabs_that_do_not_read(target: Service) -> None:
    """State frames of one user fill no memory for many tabs that do not read. When these read on, they get the last."""
    actions, last = 50, {"revision": 0}
    with target.client("tabs") as reader, users.UnreadTabs(Target.of(target)) as unread:
        before = resident_bytes(worker_of(target))
        for _ in range(actions):
            answer = unread.act()
            while last["revision"] < answer["revision"]:
                last = reader.receive("state")
            assert len(last["changes"][0]["ids"]) == len(unread.ids)
        serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB
        revisions = [0]
        while revisions[-1] < last["revision"]:
            frame = unread.tabs[0].read_json()
            revisions += [frame["revision"]] if frame["type"] == "state" else []
        assert len(revisions) - 1 < actions  # some were left out: the service had to wait for the tab


@pytest.fixture(scope="module")
def rich(target: Service) -> str:
    """The token of a user with 2,000 long items of 20 topics, and one mute."""
    return users.make_rich(Target.of(target), "rich")


@pytest.mark.parametrize("path", users.RICH_PATHS)
def test_requests_of_a_user(target: Service, rich: str, path: str) -> None:
    """Requests of a user with a large inbox, from 16 clients at once, affect no other user."""
    headers = {"Authorization": f"Bearer {rich}", "Accept": JSON}
    before = resident_bytes(worker_of(target))
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(target.request, "GET", path, headers=headers) for _ in range(32)]
        while not all(answer.done() for answer in answers):
            serve_others(target)
    assert {answer.result().status for answer in answers} <= {200, 429}
    assert any(answer.result().status == 200 for answer in answers)
    assert resident_bytes(worker_of(target)) - before < SOME_MB


@pytest.mark.parametrize(
    ("step", "clients", "steps", "outcomes"),
    [
        (users.unread_streams, 1, 60, {"published"}),
        (users.topics_in_turn, 4, 120, {"ok"}),
        (users.many_topics, 1, 80, {"welcome"}),
        (users.reconnect_and_publish, 2, 60, {"ok", "rate_limited"}),
        (users.brief_streams, 4, 60, {"101", "200"}),
    ],
)
def test_users(target: Service, step: Step, clients: int, steps: int, outcomes: set[str]) -> None:
    """Users who open, join and publish ever new things, one after another, affect no other user."""
    before = resident_bytes(worker_of(target))
    with ThreadPoolExecutor(clients) as pool:
        attackers = [
            pool.submit(lambda number: set(itertools.islice(step(Target.of(target), number), steps)), number)
            for number in range(clients)
        ]
        while not all(attacker.done() for attacker in attackers):
            serve_others(target)
    assert set.union(*(attacker.result() for attacker in attackers)) == outcomes
    serve_others(target)
    assert resident_bytes(worker_of(target)) - before < SOME_MB


def test_long_heads(target: Service) -> None:
    """Heads of the greatest length that never end cost about twice their length, and nothing when they have gone."""
    before = resident_bytes(worker_of(target))
    with Holder(Target.of(target), holds.LONG_HEAD, 150):
        serve_others(target)
        assert resident_bytes(worker_of(target)) - before < 2 * SOME_MB
    rest(target, before)


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """A service with few places for HTTP, which waits long for heads and not long for bodies.

    The bodies of others come later than their heads, on a busy machine by more than half a second.
    """
    with Service(
        workers=1, max_http_connections=HTTP_PLACES, head_timeout=600, body_timeout=3, body_rate=100_000
    ) as service:
        serve_others(service)
        yield service


@pytest.mark.parametrize(
    ("hold", "ends"),
    [
        (holds.SILENT, re.compile(rb"^$")),
        (holds.HALF_A_HEAD, ANSWER_408),
        (holds.HALF_A_BODY, ANSWER_408),
        (holds.HALF_A_LINE, re.compile(rb'"status":408[^\n]*\s+(0\s+)?$')),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_all_places_taken(small: Service, hold: Hold, ends: re.Pattern[bytes]) -> None:
    """More connections than there are places, none with a whole request, end in time; streams stay open."""
    evicted = small.metric("notifier_http_evicted_total")
    with small.client("stream") as stream, Holder(Target.of(small), hold, 2 * HTTP_PLACES) as holder:
        serve_others(small)
        with holder.sockets[0].makefile("rb") as oldest:
            assert ends.search(oldest.read())
        assert small.publish({"to": {"users": ["stream"]}, "title": "x"}).status == 201
        assert stream.receive("notification")
    if hold in (holds.SILENT, holds.HALF_A_HEAD):
        assert small.metric("notifier_http_evicted_total") > evicted


def test_all_places_taken_by_answers(small: Service) -> None:
    """Clients that do not read their answers do not keep all places until their timeout."""
    evicted = small.metric("notifier_http_evicted_total")
    with contextlib.ExitStack() as stack:
        for _ in range(HTTP_PLACES):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", small.port))
            client.sendall(b"GET /static/notifier-inbox.js HTTP/1.1\r\nHost: a\r\n\r\n" * 400)
        serve_others(small)
        assert small.metric("notifier_http_evicted_total") > evicted


@pytest.mark.parametrize(
    "hold", [holds.SILENT, holds.HALF_A_HEAD, holds.HALF_A_BODY, holds.SLOW_LINES], ids=lambda hold: hold.name
)
def test_requests_without_end(target: Service, hold: Hold) -> None:
    """Requests that never end, from many addresses, do not lock users out."""
    before = resident_bytes(worker_of(target))
    with Holder(Target.of(target), hold, 300) as holder:
        for _ in range(3):
            holder.step()
            serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_hostile_tokens(target: Service, token: str) -> None:
    """A token that costs its reader much is rejected at once, wherever it is."""
    before = resident_bytes(worker_of(target))
    for _ in range(5):
        for method, path, headers in requests_with(token):
            assert target.request(method, path, headers=headers).status in (401, 429, 431), (method, path, headers)
        with target.connect() as client:
            client.send("hello", token=token)
            assert client.close_code() in (4001, 4500)
    with target.client("other") as client:
        for _ in range(5):
            assert client.ask("auth", token=token)["problem"]["status"] in (401, 429)
    serve_others(target)
    assert resident_bytes(worker_of(target)) - before < SOME_MB
