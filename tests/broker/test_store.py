"""Behavior that all commands to Redis share: lost scripts, errors, and a server that cannot be reached."""

from collections.abc import Callable
from uuid import uuid4

import pytest
import redis

from notifier.broker.log import Append, Appended, Log
from notifier.errors import BrokerUnavailable, Problem
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.broker import Broker, Make, append, bodies, broker_of, ids, now, publish, read, sharded


class TestScripts:
    def test_forgotten_scripts(self, make: Make, client: redis.Redis, user: str) -> None:
        """Scripts that the server no longer has are loaded again, and nothing is done twice."""
        broker = make()
        append(broker.log, user, b"1")
        client.script_flush()
        append(broker.log, user, b"2")
        assert bodies(broker.log, user) == [b"1", b"2"]
        client.script_flush()
        assert broker.keys.claim([(user, "print", "id", 1.5)])[0].outcome == "claimed"
        id = publish(broker.log, user)
        client.script_flush()
        broker.log.recall(id)
        assert bodies(broker.log, user) == [b"1", b"2", id.encode()]


CALLS: dict[str, Callable[[Broker, str], object]] = {
    "find": lambda broker, name: broker.log.find(name),
    "recall": lambda broker, name: broker.log.recall(name),
    "claim": lambda broker, name: broker.keys.claim([(name, "print", "id", 1.5)]),
    "answer": lambda broker, name: broker.keys.answer([(name, b"{}")]),
    "release": lambda broker, name: broker.keys.release([name]),
    "note_regression": lambda broker, name: broker.log.note_regression([(f"user:{name}", Cursor(1, 0))]),
    "birth": lambda broker, _: broker.database.birth(),
}


class TestFaults:
    @pytest.mark.parametrize("call", CALLS)
    def test_errors_of_redis(self, make: Make, client: redis.Redis, call: str) -> None:
        """Every call raises BrokerUnavailable on an error of Redis."""
        broker, name = make(redis_prefix=f"broken-{call}"), str(uuid4())
        for key in (f"notification:{name}", f"idempotency:{name}", "birth:", f"user:{name}"):
            for suffix in ("", ":meta", ":log"):
                client.rpush(f"broken-{call}:{{{key}}}{suffix}", "a list, where nobody expects one")
        with pytest.raises(BrokerUnavailable) as caught:
            CALLS[call](broker, name)
        assert caught.value.headers["Retry-After"]

    def test_one_channel(self, log: Log, client: redis.Redis, user: str, topic: str) -> None:
        """An error in one channel is the answer for that channel; the others have theirs."""
        client.rpush(f"{sharded(user)}:meta", "a list, where nobody expects one")
        [[bad, good], [other]] = log.append(
            [
                [Append(user, NOTIFICATION, b"{}"), Append(topic, NOTIFICATION, b"{}")],
                [Append(topic, NOTIFICATION, b"{}")],
            ],
            [],
        )
        assert isinstance(bad, BrokerUnavailable)
        unreadable, page = log.read([(user, BEGINNING), (topic, BEGINNING)], now())
        assert isinstance(unreadable, BrokerUnavailable)
        assert len(ids(page)) == 2
        unknown, mark = log.log_ends([user, topic])
        assert isinstance(unknown, BrokerUnavailable)
        assert not isinstance(mark, Problem)
        assert [good.cursor, other.cursor] == [str(each) for each in ids(read(log, topic))]

    @pytest.mark.parametrize("call", [*CALLS, "append", "beat", "read", "log_ends"])
    def test_out_of_reach(self, valkey: EmbeddedValkey, call: str) -> None:
        """Every call raises BrokerUnavailable if Redis cannot be reached."""
        settings = BrokerSettings(redis_url=f"{valkey.url}.not")
        broker = broker_of(settings, Clock())
        calls = CALLS | {
            "append": lambda broker, name: append(broker.log, name),
            "beat": lambda broker, name: broker.database.beat(name, "node"),
            "read": lambda broker, name: broker.log.read([(name, BEGINNING)], now()),
            "log_ends": lambda broker, name: broker.log.log_ends([name]),
        }
        with pytest.raises(BrokerUnavailable):
            calls[call](broker, "name")

    def test_nothing_of_redis_reaches_callers(self, make: Make, client: redis.Redis, user: str) -> None:
        """Callers receive one sentence; hosts, paths, scripts and values of Redis are for the log."""
        client.rpush(f"{sharded(user)}:meta", "secret value")
        [[refused]] = make().log.append([[Append(user, NOTIFICATION, b"{}")]], [])
        assert isinstance(refused, BrokerUnavailable)
        assert refused.detail == "Redis refused the command."
        settings = BrokerSettings(redis_url="redis://name:password@127.0.0.1:1/0")
        with pytest.raises(BrokerUnavailable) as caught:
            broker_of(settings, Clock()).database.birth()
        assert caught.value.detail == "Redis cannot be reached."

    def test_record_that_cannot_be_written(
        self, valkey: EmbeddedValkey, client: redis.Redis, user: str, topic: str
    ) -> None:
        """A notification whose record is not stored could not be recalled: its publication fails, others do not."""
        keys = ["*notification:good*", "*{topic*", "*{user*"]
        log = broker_of(BrokerSettings(redis_url=url_of("norecord", valkey, client, keys)), Clock()).log
        batches = [[Append(user, NOTIFICATION, b"{}")], [Append(topic, NOTIFICATION, b"{}")]]
        [[failed], [stored]] = log.append(batches, [("bad", [user]), ("good", [topic])])
        assert isinstance(failed, BrokerUnavailable)
        assert isinstance(stored, Appended)

    def test_no_info(self, valkey: EmbeddedValkey, client: redis.Redis) -> None:
        """A user of Redis whose ACL forbids INFO can do everything else."""
        url = url_of("noinfo", valkey, client, ["*"], "-info")
        database = broker_of(BrokerSettings(redis_url=url), Clock()).database
        assert database.info() == {}
        assert database.birth()


def url_of(name: str, valkey: EmbeddedValkey, client: redis.Redis, keys: list[str], *rules: str) -> str:
    """Return the URL for a user of Redis with these keys and rules."""
    client.acl_setuser(name, enabled=True, nopass=True, keys=keys, channels=["*"], commands=["+@all", *rules])
    return valkey.url.replace("unix://", f"unix://{name}:any@")
