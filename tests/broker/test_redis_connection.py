"""Connections, on a real server."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import redis

from notifier.broker.redis_connection import RedisConnection, pack
from notifier.errors import BrokerUnavailable
from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit.valkey import pid_of, running_valkey
from tests.kit.waiting import DEADLINE

TIMEOUT = 0.2  # seconds after which a server that hangs is given up
PATIENCE = 10.0  # seconds that a server has where it is not to be given up


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    """A server for the tests of this file that let it live."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def mortal() -> Iterator[EmbeddedValkey]:
    """A server for one test, which may kill it."""
    with running_valkey() as valkey:
        yield valkey


def echo(*words: str) -> list[bytes]:
    return [pack("ECHO", word) for word in words]


class TestRedisConnection:
    def test_exchange(self, valkey: EmbeddedValkey) -> None:
        """Each command has its reply, in order; blanks, zeros and numbers arrive as they are."""
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
        """An error of Redis is the reply of its command, and the others have theirs."""
        connection = RedisConnection(valkey.url, PATIENCE)
        first, error, last = connection.exchange([*echo("a"), pack("NO-SUCH-COMMAND"), *echo("b")])
        assert (first, last) == (b"a", b"b")
        assert isinstance(error, redis.ResponseError)
        connection.close()

    def test_large(self, valkey: EmbeddedValkey) -> None:
        """What is larger than one read, or one write, is whole."""
        connection = RedisConnection(valkey.url, PATIENCE)
        text = b"0123456789" * 300_000
        assert connection.exchange([pack("ECHO", text)] * 3) == [text] * 3
        connection.close()

    def test_greet(self, valkey: EmbeddedValkey) -> None:
        """Each new connection is greeted once, before anything else."""
        greeted = []
        connection = RedisConnection(
            valkey.url, PATIENCE, lambda connection: greeted.append(connection.exchange(echo("hello")))
        )
        for _ in range(2):
            assert connection.exchange(echo("a")) == [b"a"]
            assert connection.exchange(echo("b")) == [b"b"]
            connection.close()
        assert greeted == [[b"hello"]] * 2

    def test_nobody_there(self, valkey: EmbeddedValkey) -> None:
        """Where no server is, the broker is out of reach, and it is said when to try again."""
        with pytest.raises(BrokerUnavailable) as caught:
            RedisConnection(f"{valkey.url}.not", TIMEOUT).exchange(echo("a"))
        assert int(caught.value.headers["Retry-After"]) > 0

    def test_closed(self, valkey: EmbeddedValkey) -> None:
        """A connection that is closed, or never was open, neither sends nor receives."""
        connection = RedisConnection(valkey.url, PATIENCE)
        with pytest.raises(BrokerUnavailable):
            connection.send(echo("a"))
        connection.connect()
        connection.close()
        connection.close()
        with pytest.raises(BrokerUnavailable):
            connection.receive()

    def test_nobody_answers(self, mortal: EmbeddedValkey) -> None:
        """A connection that listens waits for ever, but not for a server that accepts and says nothing."""
        pid = pid_of(mortal)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable):
                RedisConnection(mortal.url, TIMEOUT, listens=True).connect()
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_close_ends_waiting(self, valkey: EmbeddedValkey) -> None:
        """Who listens on a connection meets its end when another thread closes it."""
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
        """When the server goes, whoever waits meets its end; when it is back, the connection connects anew."""
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
        """A connection that the server has closed while it was idle is replaced before anything is sent on it."""
        connection, other = RedisConnection(valkey.url, PATIENCE), RedisConnection(valkey.url, PATIENCE)
        for _ in range(3):
            [id] = connection.exchange([pack("CLIENT", "ID")])
            assert other.exchange([pack("CLIENT", "KILL", "ID", id)]) == [1]
            connection._used_at = 0.0  # long ago
            assert connection.exchange(echo("a")) == [b"a"]
        connection.close()
        other.close()
