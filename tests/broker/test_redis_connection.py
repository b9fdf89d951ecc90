"""Connections, on a real server."""

import os
import signal
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
import redis

from notifier.broker.redis_connection import RedisConnection, pack
from notifier.errors import BrokerUnavailable
from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit.broker import PATIENCE, TIMEOUT, echo
from tests.kit.valkey import pid_of
from tests.kit.waiting import DEADLINE

SMALL = 32768  # bytes


@pytest.fixture
def traced() -> Iterator[None]:
    """The memory that Python takes from the heap is traced."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


class TestRedisConnection:
    def test_exchange(self, valkey: EmbeddedValkey) -> None:
        """Each command has its reply, in order; spaces, zero bytes and numbers arrive unchanged."""
        connection = RedisConnection(valkey.url, PATIENCE)
        commands = [
            pack("ECHO", b"a b\r\n\0\xff"),
            pack("ECHO", 5),
            pack("ECHO", 1.5),
            pack("ECHO", "é"),
            pack("ECHO", ""),
        ]
        assert connection.exchange(commands) == [b"a b\r\n\0\xff", b"5", b"1.5", "é".encode(), b""]
        connection.close()

    def test_errors_are_replies(self, valkey: EmbeddedValkey) -> None:
        """An error of Redis is the reply of its command, and does not affect others."""
        connection = RedisConnection(valkey.url, PATIENCE)
        first, error, last = connection.exchange([*echo("a"), pack("NO-SUCH-COMMAND"), *echo("b")])
        assert (first, last) == (b"a", b"b")
        assert isinstance(error, redis.ResponseError)
        connection.close()

    def test_large(self, valkey: EmbeddedValkey) -> None:
        """Commands and replies may be larger than one read or write."""
        connection = RedisConnection(valkey.url, PATIENCE)
        text = b"0123456789" * 300_000
        assert connection.exchange([pack("ECHO", text)] * 3) == [text] * 3
        connection.close()

    def test_small(self, valkey: EmbeddedValkey, traced: None) -> None:
        """To receive a small reply takes no large piece of the heap, however much is received at once."""
        connection = RedisConnection(valkey.url, PATIENCE)
        connection.exchange(echo("a"))
        begin, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert connection.exchange(echo("a")) == [b"a"]
        _, most = tracemalloc.get_traced_memory()
        assert most - begin < SMALL
        connection.close()

    def test_greet(self, valkey: EmbeddedValkey) -> None:
        """The greeting runs once for each new connection, before other commands."""
        greeted = []
        connection = RedisConnection(
            valkey.url, PATIENCE, lambda connection: greeted.append(connection.exchange(echo("hello")))
        )
        for _ in range(2):
            assert connection.exchange(echo("a")) == [b"a"]
            assert connection.exchange(echo("b")) == [b"b"]
            connection.close()
        assert greeted == [[b"hello"]] * 2

    def test_no_server(self, valkey: EmbeddedValkey) -> None:
        """Without a server the broker is unavailable, and the problem has a Retry-After header."""
        with pytest.raises(BrokerUnavailable) as caught:
            RedisConnection(f"{valkey.url}.not", TIMEOUT).exchange(echo("a"))
        assert int(caught.value.headers["Retry-After"]) > 0

    def test_closed(self, valkey: EmbeddedValkey) -> None:
        """A connection that is closed, or was never open, neither sends nor receives."""
        connection = RedisConnection(valkey.url, PATIENCE)
        with pytest.raises(BrokerUnavailable):
            connection.send(echo("a"))
        connection.connect()
        connection.close()
        connection.close()
        with pytest.raises(BrokerUnavailable):
            connection.receive()

    def test_no_answer(self, mortal: EmbeddedValkey) -> None:
        """A listening connection waits for messages without a timeout, but not for the server to accept it."""
        pid = pid_of(mortal)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable):
                RedisConnection(mortal.url, TIMEOUT, listens=True).connect()
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_close_ends_waiting(self, valkey: EmbeddedValkey) -> None:
        """A thread that receives gets an error when another thread closes the connection."""
        connection = RedisConnection(valkey.url, PATIENCE, listens=True)
        connection.connect()
        connection.send([pack("SUBSCRIBE", "nothing")])
        assert connection.receive()
        ended = threading.Event()

        def wait() -> None:
            with pytest.raises(BrokerUnavailable):
                connection.receive()
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        connection.close()
        assert ended.wait(DEADLINE)

    def test_server_ends(self, mortal: EmbeddedValkey) -> None:
        """A thread that receives gets an error when the server ends. After a restart the connection reconnects."""
        connection = RedisConnection(mortal.url, PATIENCE, listens=True)
        connection.connect()
        connection.send([pack("SUBSCRIBE", "nothing")])
        assert connection.receive()
        os.kill(pid_of(mortal), signal.SIGKILL)
        with pytest.raises(BrokerUnavailable):
            connection.receive()
        mortal.stop()
        mortal.start()
        assert connection.exchange(echo("a")) == [b"a"]
        connection.close()

    def test_closed_while_idle(self, valkey: EmbeddedValkey) -> None:
        """A connection that the server closed while it was idle is replaced before a command is sent."""
        connection, other = RedisConnection(valkey.url, PATIENCE), RedisConnection(valkey.url, PATIENCE)
        for _ in range(3):
            [id] = connection.exchange([pack("CLIENT", "ID")])
            assert other.exchange([pack("CLIENT", "KILL", "ID", id)]) == [1]
            connection._used_at = 0.0  # long ago
            assert connection.exchange(echo("a")) == [b"a"]
        connection.close()
        other.close()
