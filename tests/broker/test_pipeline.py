"""The pipeline, on a real server."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from notifier.broker.pipeline import Pipeline
from notifier.broker.redis_connection import RedisConnection, pack
from notifier.errors import BrokerUnavailable
from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit.broker import PATIENCE, TIMEOUT, echo
from tests.kit.valkey import pid_of
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Switch between threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class CountingConnection(RedisConnection):
    """Counts its exchanges."""

    exchanges = 0

    def exchange(self, commands: list[bytes]) -> list[Any]:
        self.exchanges += 1
        return super().exchange(commands)


class BlockedConnection(RedisConnection):
    """Notes the bytes of its exchanges, which wait for `may_write`."""

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(url, timeout)
        self.is_writing, self.may_write = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def exchange(self, commands: list[bytes]) -> list[Any]:
        self.sizes.append(sum(map(len, commands)))
        self.is_writing.set()
        assert self.may_write.wait(DEADLINE)
        return super().exchange(commands)


_pipelines: list[Pipeline] = []


def pipeline_on(*connections: RedisConnection) -> Pipeline:
    """Return a pipeline that is closed after the test."""
    _pipelines.append(Pipeline(*connections))
    return _pipelines[-1]


@pytest.fixture(autouse=True)
def close_pipelines() -> Iterator[None]:
    """Close the connections of a test."""
    yield
    while _pipelines:
        _pipelines.pop().close()


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `count` threads at the same time, and return the value or the error of each."""
    results: list[object] = [None] * count
    gate = threading.Barrier(count)

    def run(index: int) -> None:
        gate.wait(DEADLINE)
        try:
            results[index] = work(index)
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive(), "a caller still waits"
    return results


class TestPipeline:
    def test_replies(self, valkey: EmbeddedValkey) -> None:
        """Many threads at once each get their own replies, and share exchanges."""
        connections = [CountingConnection(valkey.url, PATIENCE) for _ in range(2)]
        pipeline = pipeline_on(*connections)
        threads, rounds = 16, 50

        def ask(thread: int) -> None:
            for turn in range(rounds):
                words = [f"{thread}.{turn}.{word}" for word in range(1 + turn % 3)]
                assert pipeline.execute(echo(*words)) == [word.encode() for word in words]

        assert in_threads(threads, ask) == [None] * threads
        assert sum(connection.exchanges for connection in connections) < threads * rounds

    def test_impatient_threads(self, valkey: EmbeddedValkey, impatient_threads: None) -> None:
        """Wherever a thread is interrupted, each caller gets its own replies."""
        pipeline = pipeline_on(RedisConnection(valkey.url, PATIENCE))

        def ask(thread: int) -> None:
            for turn in range(500):
                assert pipeline.execute(echo(f"{thread}.{turn}")) == [f"{thread}.{turn}".encode()]

        assert in_threads(16, ask) == [None] * 16

    def test_errors(self, valkey: EmbeddedValkey) -> None:
        """An error of Redis is returned to the caller whose command failed."""
        pipeline = pipeline_on(RedisConnection(valkey.url, PATIENCE))

        def ask(thread: int) -> list[Any]:
            return pipeline.execute([pack("NO-SUCH-COMMAND")] if thread % 2 else echo("a"))

        for index, replies in enumerate(in_threads(8, ask)):
            assert isinstance(replies, list)
            assert isinstance(replies[0], redis.ResponseError) if index % 2 else replies == [b"a"]

    def test_trailer(self, valkey: EmbeddedValkey) -> None:
        """A trailer has one more reply, which every caller gets."""
        pipeline = pipeline_on(RedisConnection(valkey.url, PATIENCE))
        replies = in_threads(8, lambda thread: pipeline.execute(echo(f"{thread}", "x"), pack("ECHO", "end")))
        assert replies == [[f"{thread}".encode(), b"x", b"end"] for thread in range(8)]

    def test_no_server(self, valkey: EmbeddedValkey) -> None:
        """Without a server every caller gets a separate problem."""
        pipeline = pipeline_on(RedisConnection(f"{valkey.url}.not", TIMEOUT))
        errors = in_threads(8, lambda _: pipeline.execute(echo("a")))
        assert all(isinstance(error, BrokerUnavailable) and error.headers["Retry-After"] for error in errors)
        assert len(set(map(id, errors))) == 8

    def test_restart(self, mortal: EmbeddedValkey) -> None:
        """While the server is down every caller gets a problem; after its restart every caller is served."""
        pipeline = pipeline_on(RedisConnection(mortal.url, PATIENCE))
        assert in_threads(4, lambda _: pipeline.execute(echo("a"))) == [[b"a"]] * 4
        os.kill(pid_of(mortal), signal.SIGKILL)
        mortal.stop()
        errors = in_threads(8, lambda _: pipeline.execute(echo("a")))
        assert all(isinstance(error, BrokerUnavailable) for error in errors)
        mortal.start()
        assert in_threads(8, lambda thread: pipeline.execute(echo(f"{thread}"))) == [
            [f"{thread}".encode()] for thread in range(8)
        ]

    def test_close(self, mortal: EmbeddedValkey) -> None:
        """A closed pipeline reconnects: no caller gets a connection from before the restart."""
        pipeline = pipeline_on(*(RedisConnection(mortal.url, PATIENCE) for _ in range(4)))
        for _ in range(5):
            in_threads(8, lambda _: pipeline.execute(echo("a")))
        os.kill(pid_of(mortal), signal.SIGKILL)
        mortal.stop()
        mortal.start()
        pipeline.close()
        assert in_threads(8, lambda _: pipeline.execute(echo("b"))) == [[b"b"]] * 8

    def test_hanging_server(self, mortal: EmbeddedValkey) -> None:
        """Commands to a hanging server time out. When it continues, no caller gets the replies of another."""
        connection: Any = RedisConnection(mortal.url, PATIENCE)
        pipeline = pipeline_on(connection)
        assert pipeline.execute(echo("a")) == [b"a"]
        pid = pid_of(mortal)
        os.kill(pid, signal.SIGSTOP)
        connection._socket.settimeout(TIMEOUT)  # not earlier: a busy server must not time out
        try:
            errors = in_threads(8, lambda _: pipeline.execute(echo("late")))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert all(isinstance(error, BrokerUnavailable) for error in errors)
        RedisConnection(mortal.url, PATIENCE).exchange(echo("awake"))
        assert in_threads(8, lambda thread: pipeline.execute(echo(f"{thread}"))) == [
            [f"{thread}".encode()] for thread in range(8)
        ]

    def test_leader_ends(self, valkey: EmbeddedValkey) -> None:
        """When the thread that leads ends, waiting callers get a problem, and later ones are served."""
        leading, over = threading.Event(), threading.Event()

        def end(connection: RedisConnection) -> None:
            if not over.is_set():
                leading.set()
                over.wait(DEADLINE)
                raise SystemExit

        pipeline = pipeline_on(RedisConnection(valkey.url, PATIENCE, end))

        def lead() -> None:
            with pytest.raises(SystemExit):
                pipeline.execute(echo("a"))

        leader = threading.Thread(target=lead, daemon=True)
        leader.start()
        assert leading.wait(DEADLINE)

        def follow(thread: int) -> list[Any]:
            if thread == 0:
                over.set()
            return pipeline.execute(echo("b"))

        results = in_threads(8, follow)
        assert all(isinstance(result, BrokerUnavailable) or result == [b"b"] for result in results)
        assert pipeline.execute(echo("c")) == [b"c"]

    def test_long_commands(self, valkey: EmbeddedValkey) -> None:
        """Callers that wait share a write only until it has about a megabyte."""
        connection = BlockedConnection(valkey.url, PATIENCE)
        pipeline = pipeline_on(connection)
        first = threading.Thread(target=lambda: pipeline.execute(echo("first")), daemon=True)
        first.start()
        assert connection.is_writing.wait(DEADLINE)
        others = [
            threading.Thread(target=lambda: pipeline.execute(echo("x" * 200_000)), daemon=True) for _ in range(20)
        ]
        for other in others:
            other.start()
        eventually(lambda: len(pipeline._waiting) == 20)
        connection.may_write.set()
        for each in [first, *others]:
            each.join(DEADLINE)
        assert len(connection.sizes) == 1 + 3 and max(connection.sizes) < 1_500_000
