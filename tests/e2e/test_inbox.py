"""The inbox on a real service with two workers: all workers and transports report the same state."""

import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from notifier.protocol import cursor
from tests.kit import raw
from tests.kit.events import EventStream
from tests.kit.inboxes import COUNTS, FUTURE, Copy, Model, ask, do, manage, publish
from tests.kit.polls import waiting
from tests.kit.raw import Peer
from tests.kit.service import API_KEY, Client, Service
from tests.kit.valkey import connected, running_valkey
from tests.kit.waiting import eventually, next_millisecond


@pytest.fixture(scope="module")
def inboxes() -> Iterator[Service]:
    """A service with two workers. Only this file publishes to `all` there."""
    with Service(allowed_origins="https://shop.example", replay_overlap=0) as service:
        yield service


def state(client: Client | EventStream, **expected: Any) -> dict[str, Any]:
    """Return the next state frame with these fields."""
    while True:
        frame = client.receive("state")
        if frame | expected == frame:
            return frame


def counts(unread: int, unseen: int) -> dict[str, Any]:
    return {"unread": unread, "unseen": unseen}


class TestLive:
    def test_welcome(self, inboxes: Service, user: str) -> None:
        """The welcome has the inbox state on every transport, the same as the counts."""
        publish(inboxes, user, ttl=600)
        do(inboxes, user, "seen", ids=[publish(inboxes, user)])
        told = ask(inboxes, user, "GET", COUNTS).json
        token = inboxes.token(user)
        poll = ask(inboxes, user, "GET", "/v1/stream?wait=0").json["frames"]
        with inboxes.client(user) as client, EventStream(inboxes, token) as events:
            welcomes = [client.welcome, events.receive("welcome"), next(f for f in poll if f["type"] == "welcome")]
        assert told["expires_at"] and told["revision"] == 1
        for welcome in welcomes:
            assert {name: welcome[name] for name in told} == told

    def test_state(self, inboxes: Service, user: str) -> None:
        """An action is sent to all connections of the user on all workers, and to no other user."""
        ids = [publish(inboxes, user) for _ in range(3)]
        with (
            inboxes.on_each_worker(user) as clients,
            EventStream(inboxes, inboxes.token(user)) as events,
            inboxes.client(f"{user}-2") as other,
        ):
            before = events.receive("welcome")["counts"]
            after = counts(before["unread"] - 2, before["unseen"] - 2)
            answer = clients[0].ask("read", ids=[*ids[:2], "x"])
            assert (answer["counts"], answer["revision"], answer["changed"], answer["unknown"]) == (
                after,
                1,
                True,
                ["x"],
            )
            for reader in (*clients, events):
                told = state(reader, revision=1)
                [change] = told["changes"]
                assert (change["action"], sorted(change["ids"]), told["counts"]) == ("read", sorted(ids[:2]), after)
            do(inboxes, user, "archive", up_to=FUTURE)
            for reader in (*clients, events):
                change = {"revision": 2, "action": "archive", "up_to": FUTURE}
                assert state(reader, revision=2)["changes"] == [change]
            assert do(inboxes, user, "archive", ids=ids)["changed"] is False
            publish(inboxes, f"{user}-2")
            assert "changes" not in other.receive("state")

    def test_counts_only(self, inboxes: Service, user: str) -> None:
        """A publication, recall, replacement or expiry changes only the counts, on every kind of channel."""
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        with inboxes.on_each_worker(user) as clients:
            unread = clients[0].welcome["counts"]["unread"]
            for to in (user, "all", f"#{user}"):
                id = publish(inboxes, to, collapse_key="k")
                for client in clients:
                    assert "changes" not in state(client, counts=counts(unread + 1, unread + 1))
                publish(inboxes, to, collapse_key="k", retain="history")
                for client in clients:
                    state(client, counts=counts(unread, unread))
                id = publish(inboxes, to)
                for client in clients:
                    state(client, counts=counts(unread + 1, unread + 1))
                assert inboxes.recall(id).status == 204
                for client in clients:
                    state(client, counts=counts(unread, unread))
            for to in (user, "all", f"#{user}"):
                publish(inboxes, to, ttl=600, collapse_key="t")
            for client in clients:
                assert state(client, counts=counts(unread + 3, unread + 3))["expires_at"]
            for to in (user, "all", f"#{user}"):
                publish(inboxes, to, ttl=1, collapse_key="t")  # replaces it, and expires
            for client in clients:
                last = state(client, counts=counts(unread, unread))
                assert not last["expires_at"] and "changes" not in last

    @pytest.mark.parametrize("kind", ["user", "topic"])
    def test_a_log_that_nobody_uses(self, kind: str) -> None:
        """Clients get new counts when a whole log expires because nothing was published for its retention."""
        with running_valkey() as valkey, Service(workers=1, redis_url=valkey.url) as service:
            for milliseconds in (1500, 15_000, 45_000):  # on a busy machine it may have expired before the welcome
                name = f"n{milliseconds}"
                manage(service, "PUT", f"/v1/topics/{name}/members/{name}")
                to = name if kind == "user" else f"#{name}"
                publish(service, to)
                with connected(valkey) as redis:
                    for what in ("log", "inbox"):  # everything that expires with the log
                        redis.pexpire(f"n:{{{kind}:{name}}}:{what}", milliseconds)
                publish(service, to)
                with service.client(name) as client:
                    welcome = client.welcome["counts"]
                    if welcome == counts(2, 2):
                        state(client, counts=counts(0, 0))
                        break
            assert welcome == counts(2, 2)

    def test_poll(self, inboxes: Service, user: str) -> None:
        """A change ends a waiting poll. The answer, or the welcome of the next poll, has the new counts."""
        publish(inboxes, user)
        frames = ask(inboxes, user, "GET", "/v1/stream?wait=0").json["frames"]
        # The last ping may be from a heartbeat before the publication.
        since = max((frame["cursor"] for frame in frames if "cursor" in frame), key=cursor.parse)
        with waiting(inboxes, user, wait=20, since=since) as answers:
            told = do(inboxes, user, "read", up_to=FUTURE)
        frames = answers[0].json["frames"] + ask(inboxes, user, "GET", "/v1/stream?wait=0").json["frames"]
        assert told["counts"]["unread"] == 0
        assert [f["counts"] for f in frames if f["type"] in ("welcome", "state")][-1] == told["counts"]

    def test_lagging(self, inboxes: Service, user: str) -> None:
        """A slow client gets the inbox state when it has caught up."""
        with (
            inboxes.on_each_worker(f"{user}-2") as others,
            Peer(inboxes.port, "/v1/stream", receive_buffer=4096) as peer,
        ):
            peer.send(raw.text(type="hello", token=inboxes.token(user)))
            assert peer.read_json()["type"] == "welcome"
            line = {"to": {"users": [user]}, "data": "x" * 3000}
            for _ in range(3):
                assert all(each["status"] == 201 for each in inboxes.publish([line] * 300).json)
            publish(inboxes, f"{user}-2")
            for other in others:
                other.receive("notification")  # its worker has received everything
            told = do(inboxes, user, "read", up_to=FUTURE)
            notifications = 0
            while True:
                frame = peer.read_json()
                notifications += frame["type"] == "notification"
                if frame["type"] == "state" and frame["counts"] == told["counts"]:
                    break
            assert told["counts"]["unread"] == 0 and frame["revision"] == told["revision"]
            assert notifications == 900

    def test_replaying(self, inboxes: Service, user: str) -> None:
        """After a replay a client has the counts of the service, whatever happens during the replay."""
        with inboxes.client(user) as client:
            since = client.welcome["cursor"]
        line = {"to": {"users": [user]}, "data": "x" * 500}
        assert all(each["status"] == 201 for each in inboxes.publish([line] * 900).json)
        for _ in range(3):
            with inboxes.client(user, since=since) as client:
                for action in ("read", "unread", "archive", "unread"):
                    told = do(inboxes, user, action, up_to=FUTURE)
                last = client.welcome
                while last["revision"] != told["revision"]:
                    last = client.receive("state")
                assert last["counts"] == told["counts"]

    @pytest.mark.parametrize("transport", ["websocket", "post"])
    def test_ack(self, inboxes: Service, user: str, transport: str) -> None:
        """An ack is stored on every transport, and not answered."""
        with inboxes.client(user) as client:
            id = publish(inboxes, user, "all")
            cursor = client.receive("notification")["cursor"]
            if transport == "websocket":
                client.send("ack", cursor=cursor, since=client.welcome["cursor"])
                assert client.ask("seen", ids=[])["changed"] is False
            else:
                frame = {"type": "ack", "cursor": cursor, "since": client.welcome["cursor"]}
                assert ask(inboxes, user, "POST", "/v1/stream", frame).status == 204

            def receipt() -> dict[str, Any]:
                shown = manage(inboxes, "GET", f"/v1/notifications/{id}").json
                return {each["channel"]: each for each in shown["receipts"]}

            eventually(lambda: receipt()[f"user:{user}"]["delivered_at"])
            assert receipt()[f"user:{user}"]["read_at"] is None

    def test_post_of_a_frame(self, inboxes: Service, user: str) -> None:
        """A client without a WebSocket posts frames, and gets the same answers."""
        id = publish(inboxes, user)
        frame = {"type": "read", "ref": "r", "ids": [id]}
        answer = ask(inboxes, user, "POST", "/v1/stream", frame)
        assert (answer.status, answer.json["type"], answer.json["ref"]) == (200, "ok", "r")
        assert answer.json["changed"] is True
        assert ask(inboxes, user, "GET", COUNTS).json["counts"] == answer.json["counts"]


class TestMembership:
    def test_joined_and_left(self, inboxes: Service, user: str) -> None:
        """A membership adds and removes a topic on all connections of the user, on all workers."""
        with inboxes.on_each_worker(user) as clients:
            manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
            for client in clients:
                assert state(client, revision=1)["memberships"] == [user]
            publish(inboxes, f"#{user}", title="1")
            for client in clients:
                frame = client.receive("notification")
                assert (frame["channel"], frame["notification"]["title"]) == (f"topic:{user}", "1")
            manage(inboxes, "DELETE", f"/v1/topics/{user}/members/{user}")
            for client in clients:
                assert state(client, revision=2)["memberships"] == []
            publish(inboxes, f"#{user}", title="not theirs")
            publish(inboxes, user, title="2")
            for client in clients:
                assert client.receive("notification")["notification"]["title"] == "2"

    def test_nothing_is_lost_between(self, inboxes: Service, user: str) -> None:
        """A notification published right after the membership reaches all members."""
        with inboxes.on_each_worker(user) as clients:
            for number in range(8):
                topic = f"{user}-{number}"
                manage(inboxes, "PUT", f"/v1/topics/{topic}/members/{user}")
                publish(inboxes, f"#{topic}", title=topic)
            for client in clients:
                titles: set[str] = set()
                while len(titles) < 8:
                    titles.add(client.receive("notification")["notification"]["title"])
                assert titles == {f"{user}-{number}" for number in range(8)}

    def test_while_away(self, inboxes: Service, user: str) -> None:
        """A client that reconnects receives what the topic has had since the membership began, and nothing older."""
        with inboxes.client(user) as client:
            since = client.welcome["cursor"]
        publish(inboxes, f"#{user}", title="before")
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        publish(inboxes, f"#{user}", title="after")
        publish(inboxes, user, title="last")
        with inboxes.client(user, since=since) as client:
            titles = [client.receive("notification")["notification"]["title"] for _ in range(2)]
        assert sorted(titles) == ["after", "last"]

    def test_while_replaying(self, inboxes: Service, user: str) -> None:
        """Memberships may change during a replay."""
        with inboxes.client(user) as client:
            since = client.welcome["cursor"]
        next_millisecond()  # without an overlap, entries of the cursor's millisecond are not replayed
        assert inboxes.publish([{"to": {"users": [user]}, "data": "x" * 500}] * 900).status == 200
        with inboxes.client(user, since=since) as client:
            for number in range(6):
                manage(inboxes, "DELETE" if number % 2 else "PUT", f"/v1/topics/{user}/members/{user}")
                publish(inboxes, f"#{user}", title="passing")
            manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
            last = publish(inboxes, f"#{user}", title="last")
            own = 0
            while (frame := client.receive("notification"))["notification"]["id"] != last or own < 900:
                own += frame["channel"] == f"user:{user}"
            assert own == 900

    def test_both(self, inboxes: Service, user: str) -> None:
        """A subscription survives the end of the membership, and a membership the end of the subscription."""
        with inboxes.client(user, [user]) as client:
            manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
            state(client, revision=1)
            manage(inboxes, "DELETE", f"/v1/topics/{user}/members/{user}")
            state(client, revision=2)
            publish(inboxes, f"#{user}", title="1")
            assert client.receive("notification")["notification"]["title"] == "1"
            manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
            state(client, revision=3)
            client.ask("unsubscribe", topic=user)
            publish(inboxes, f"#{user}", title="2")
            while client.receive("notification")["notification"]["title"] != "2":
                pass

    @pytest.mark.parametrize("left", [0, 1])
    @pytest.mark.parametrize("how", ["ids", "up_to"])
    def test_left_of_two(self, inboxes: Service, user: str, how: str, left: int) -> None:
        """The flags of a notification on two topics remain when the user leaves one of them."""
        topics = [f"{user}-a", f"{user}-b"]
        for topic in topics:
            manage(inboxes, "PUT", f"/v1/topics/{topic}/members/{user}")
        id = publish(inboxes, *(f"#{topic}" for topic in topics))
        do(inboxes, user, "archive", up_to=FUTURE)
        undone = do(inboxes, user, "unread", **({"ids": [id]} if how == "ids" else {"up_to": FUTURE}))
        receipts = manage(inboxes, "GET", f"/v1/notifications/{id}").json["receipts"]
        assert [(each["read"], each["archived"]) for each in receipts] == [(0, 0)] * 2
        manage(inboxes, "DELETE", f"/v1/topics/{topics[left]}/members/{user}")
        item = ask(inboxes, user, "GET", "/v1/inbox").json["items"][0]
        assert (item["notification"]["id"], item["channel"]) == (id, f"topic:{topics[1 - left]}")
        assert (item["seen"], item["read"]) == (True, False)
        assert ask(inboxes, user, "GET", COUNTS).json["counts"] == undone["counts"]

    def test_up_to_between_two_topics(self, inboxes: Service, user: str) -> None:
        """An action up to a cursor includes the notification there, also its copy that was appended moments later."""
        topics = [f"{user}-a", f"{user}-b"]
        for topic in topics:
            manage(inboxes, "PUT", f"/v1/topics/{topic}/members/{user}")
        cursors: list[str] = []
        while len(set(cursors)) < 2:
            answer = inboxes.publish({"to": {"topics": topics}, "title": "x"}).json
            cursors = [each["cursor"] for each in answer["channels"]]
        do(inboxes, user, "read", up_to=cursors[0])
        unread = ask(inboxes, user, "GET", COUNTS).json["counts"]["unread"]
        manage(inboxes, "DELETE", f"/v1/topics/{topics[0]}/members/{user}")
        item = ask(inboxes, user, "GET", "/v1/inbox?limit=1").json["items"][0]
        assert (item["notification"]["id"], item["read"]) == (answer["id"], True)
        assert ask(inboxes, user, "GET", COUNTS).json["counts"]["unread"] == unread

    def test_bulk(self, inboxes: Service, user: str) -> None:
        """Many members are added and removed in one request, and listed in pages."""
        path = f"/v1/topics/{user}/members"
        names = [f"{user}-{number:03}" for number in range(120)]
        answer = manage(inboxes, "POST", path, {"add": names}).json
        assert (answer["added"], answer["removed"]) == (120, 0)
        page = manage(inboxes, "GET", path).json
        rest = manage(inboxes, "GET", f"{path}?after={page['next']}").json
        assert page["members"] + rest["members"] == names and rest["next"] is None
        answer = manage(inboxes, "POST", path, {"add": ["x"], "remove": names[:119]}).json
        assert (answer["added"], answer["removed"]) == (1, 119)


class TestMutes:
    def test_not_pushed(self, inboxes: Service, user: str) -> None:
        """Muted notifications are not pushed or counted, live or in a replay, for this user only."""
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        with inboxes.on_each_worker(user) as clients, inboxes.client(f"{user}-2") as other:
            since = clients[0].welcome["cursor"]
            mutes = {"types": ["noise"], "topics": [user]}
            assert ask(inboxes, user, "PUT", "/v1/inbox/mutes", mutes).json == mutes
            for client in clients:
                state(client, revision=2)
            publish(inboxes, user, type="noise")
            publish(inboxes, "all", type="noise")
            publish(inboxes, f"#{user}")
            last = publish(inboxes, user, title="last")
            for client in clients:
                assert client.receive("notification")["notification"]["id"] == last
            assert other.receive("notification")["notification"]["type"] == "noise"
        with inboxes.client(user, since=since) as client:
            assert client.receive("notification")["notification"]["id"] == last
        listed = ask(inboxes, user, "GET", "/v1/inbox?limit=4").json["items"]
        assert [(item["muted"], item["read"]) for item in listed] == [(False, False)] + [(True, True)] * 3

    def test_replay_after_a_mute(self, inboxes: Service, user: str) -> None:
        """A replay after a mute is removed has what was muted in a topic, and not what was muted in the own channel."""
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        with inboxes.client(user) as client:
            since = client.welcome["cursor"]
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"types": ["noise"]})
        publish(inboxes, user, type="noise")
        sent = {publish(inboxes, f"#{user}", type="noise"), publish(inboxes, user)}
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {})
        with inboxes.client(user, since=since) as client:
            assert {client.receive("notification")["notification"]["id"] for _ in sent} == sent

    @pytest.mark.parametrize("first", [0, 1])
    def test_two_muted_topics(self, inboxes: Service, user: str, first: int) -> None:
        """A notification on two muted topics stays uncounted, whichever topic is unmuted first."""
        topics = [f"{user}-a", f"{user}-b"]
        for topic in topics:
            manage(inboxes, "PUT", f"/v1/topics/{topic}/members/{user}")
        before = ask(inboxes, user, "GET", COUNTS).json["counts"]
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"topics": topics})
        publish(inboxes, *(f"#{topic}" for topic in topics))
        for mutes in ([topics[first]], []):
            ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"topics": mutes})
            assert ask(inboxes, user, "GET", COUNTS).json["counts"] == before

    def test_copies_of_what_was_muted(self, inboxes: Service, user: str) -> None:
        """A muted notification stays uncounted after its copy for the user expires; the receipt counts it once."""
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        before = ask(inboxes, user, "GET", COUNTS).json["counts"]
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"types": ["noise"], "topics": [user]})
        id = publish(inboxes, f"#{user}")
        publish(inboxes, user, f"#{user}", type="noise", collapse_key="k")
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"types": ["noise"]})
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {})
        publish(inboxes, user, collapse_key="k", retain="history")
        assert ask(inboxes, user, "GET", COUNTS).json["counts"] == before
        reads = [manage(inboxes, "GET", f"/v1/notifications/{id}").json["receipts"][0]["read"]]
        do(inboxes, user, "unread", ids=[id])
        reads += [manage(inboxes, "GET", f"/v1/notifications/{id}").json["receipts"][0]["read"]]
        assert reads == [1, 0]

    def test_suppressed(self, inboxes: Service, user: str) -> None:
        """The answer to the publisher reports the suppression for each channel."""
        assert ask(inboxes, user, "GET", "/v1/inbox/mutes").json == {"types": [], "topics": []}
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"types": ["noise"]})
        answer = inboxes.publish({"to": {"users": [user, f"{user}-2"]}, "type": "noise"}).json
        assert [each.get("suppressed") for each in answer["channels"]] == ["muted_type", None]


class TestMissed:
    """Changes that a worker missed, or sent only to other connections, are still sent."""

    def test_nobody_was_there(self, user: str) -> None:
        """The first connection after others have closed gets each change, even one back to an earlier state."""
        with Service(workers=1) as service, service.client(f"{user}-2") as witness:
            with service.client(user) as client:
                before = client.welcome["counts"]
            id = publish(service, user, f"{user}-2")
            assert witness.receive("notification")["notification"]["id"] == id  # the worker has received it
            with service.client(user) as client:
                assert client.welcome["counts"] != before
                service.recall(id)
                state(client, counts=before)

    def test_membership_while_deaf(self, user: str) -> None:
        """A membership that began while the worker's subscription was lost takes effect, with its topic."""
        with (
            running_valkey() as valkey,
            Service(workers=1, redis_url=valkey.url) as service,
            service.client(user) as client,
            connected(valkey) as control,
        ):
            control.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            manage(service, "PUT", f"/v1/topics/{user}/members/{user}")
            assert state(client, revision=1)["memberships"] == [user]
            id = publish(service, f"#{user}")
            assert client.receive("notification")["notification"]["id"] == id


class TestCut:
    @pytest.mark.parametrize(
        ("method", "path", "status"), [("POST", "/v1/users/{}/disconnect", 202), ("DELETE", "/v1/users/{}", 204)]
    )
    def test_closed(self, inboxes: Service, user: str, method: str, path: str, status: int) -> None:
        """Disconnecting or erasing a user closes their connections on all workers and transports, and no others."""
        with (
            inboxes.on_each_worker(user) as clients,
            EventStream(inboxes, inboxes.token(user)) as events,
            inboxes.client(f"{user}-2") as other,
        ):
            events.receive("welcome")
            publish(inboxes, user)
            assert manage(inboxes, method, path.format(user)).status == status
            assert [client.close_code() for client in clients] == [4502, 4502]
            assert events.receive("close")["code"] == 4502
            publish(inboxes, f"{user}-2", title="still here")
            assert other.receive("notification")["notification"]["title"] == "still here"

    def test_erased(self, inboxes: Service, user: str) -> None:
        """After an erasure, no list and no replay has anything of the user, on any worker."""
        with inboxes.client(user) as client:
            since = client.welcome["cursor"]
            id = publish(inboxes, user, title="secret")
            assert client.receive("notification")
            assert manage(inboxes, "GET", f"/v1/users/{user}/export").json["inbox"][0]["notification"]["id"] == id
            manage(inboxes, "DELETE", f"/v1/users/{user}")
            assert client.close_code() == 4502
        listed = {item["channel"] for item in ask(inboxes, user, "GET", "/v1/inbox?limit=100").json["items"]}
        assert listed <= {"all"}
        assert (
            inboxes.request("GET", f"/v1/notifications/{id}", None, {"Authorization": f"Bearer {API_KEY}"}).status
            == 404
        )
        with inboxes.client(user, since=since) as client:
            assert client.welcome["revision"] == 0
            assert client.welcome["lost"] == []
            last = publish(inboxes, user)
            while (frame := client.receive("notification"))["notification"]["id"] != last:
                assert frame["channel"] == "all"

    def test_under_way(self, user: str) -> None:
        """Requests in flight during an erasure do not recreate data."""
        with running_valkey() as valkey, Service(workers=1, redis_url=valkey.url) as service:
            publish(service, user)
            with service.client(user) as client:
                for number in range(400):
                    client.send("unread" if number % 2 else "read", ref=str(number), up_to=FUTURE)
                client.send("ack", cursor=client.welcome["cursor"])
                manage(service, "DELETE", f"/v1/users/{user}")
                assert client.close_code() == 4502
            do(service, user, "read", up_to=FUTURE)  # by then all requests in flight are answered
            with connected(valkey) as redis:
                kept = {key.decode().rpartition(":")[2] for key in redis.keys(f"*user:{user}*")}
            assert kept == {"cut", "erased"}

    def test_begin_again(self, inboxes: Service, user: str) -> None:
        """A user who reconnects right after an erasure has an empty inbox and no mutes."""
        ask(inboxes, user, "PUT", "/v1/inbox/mutes", {"types": [user]})
        with inboxes.on_each_worker(user) as clients:
            publish(inboxes, user)
            for client in clients:
                state(client, revision=1)
            manage(inboxes, "DELETE", f"/v1/users/{user}")
            assert [client.close_code() for client in clients] == [4502, 4502]
        with inboxes.on_each_worker(user) as clients:
            told = ask(inboxes, user, "GET", COUNTS).json
            assert told["revision"] == 0
            id = publish(inboxes, user, type=user)
            for client in clients:
                assert (client.welcome["counts"], client.welcome["revision"]) == (told["counts"], 0)
                while client.receive("notification")["notification"]["id"] != id:
                    pass


class TestHttp:
    def test_list(self, inboxes: Service, user: str) -> None:
        """A list has items, counts, and the cursor up to which everything can be marked as read."""
        ids = [publish(inboxes, user) for _ in range(3)]
        page = ask(inboxes, user, "GET", "/v1/inbox?limit=2").json
        assert [item["notification"]["id"] for item in page["items"]] == ids[:0:-1]
        assert page["next"] and page["revision"] == 0
        rest = ask(inboxes, user, "GET", f"/v1/inbox?limit=2&before={page['next']}").json
        assert rest["items"][0]["notification"]["id"] == ids[0]
        assert do(inboxes, user, "read", up_to=page["cursor"])["counts"]["unread"] == 0

    @pytest.mark.parametrize("path", ["/v1/inbox", COUNTS])
    def test_conditional(self, inboxes: Service, user: str, path: str) -> None:
        """A request with the current ETag is answered 304 on every worker, until something changes."""
        publish(inboxes, user)
        first = ask(inboxes, user, "GET", path)
        tag = {"If-None-Match": first.headers["ETag"]}
        for again in inboxes.from_each_worker(lambda: ask(inboxes, user, "GET", path, headers=tag)):
            assert (again.status, again.text, again.headers["ETag"]) == (304, "", tag["If-None-Match"])
        expected = {"If-Match": first.headers["ETag"]}
        assert ask(inboxes, user, "GET", path, headers=expected).status == 200
        do(inboxes, user, "seen", up_to=FUTURE)
        changed = ask(inboxes, user, "GET", path, headers=tag)
        assert changed.status == 200
        refused = ask(inboxes, user, "GET", path, headers=expected)
        assert (refused.status, refused.json["code"]) == (412, "precondition_failed")
        assert refused.headers["ETag"] == changed.headers["ETag"]
        assert "no-cache" in first.headers["Cache-Control"] and "private" in first.headers["Cache-Control"]

    @pytest.mark.parametrize("path", ["", "/counts", "/mutes", "/read", "/unarchive"])
    def test_preflight(self, inboxes: Service, path: str) -> None:
        """A preflight allows pages of other origins."""
        headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
        answer = inboxes.request("OPTIONS", f"/v1/inbox{path}", None, headers)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert {"GET", "POST", "PUT"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert "If-None-Match" in answer.headers["Access-Control-Allow-Headers"]

    def test_cookie(self, inboxes: Service, user: str) -> None:
        """The cookie is accepted from the own origin and the configured ones, and rejected from others."""
        id = publish(inboxes, user)
        cookie = {"Cookie": f"notifier_token={inboxes.token(user)}"}
        for origin, status in [
            (f"http://127.0.0.1:{inboxes.port}", 200),
            ("https://shop.example", 200),
            ("https://evil.example", 403),
            (None, 403),
        ]:
            headers = cookie | ({"Origin": origin} if origin else {})
            assert inboxes.request("POST", "/v1/inbox/read", {"ids": [id]}, headers).status == status
        shared = inboxes.request("GET", COUNTS, None, cookie | {"Origin": "https://shop.example"})
        assert shared.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert shared.headers["Access-Control-Allow-Credentials"] == "true"

    def test_receipts(self, inboxes: Service, user: str) -> None:
        """A notification has a receipt for each of its channels."""
        id = publish(inboxes, user, f"#{user}", "all")
        do(inboxes, user, "archive", ids=[id])
        shown = manage(inboxes, "GET", f"/v1/notifications/{id}").json
        own, topic, everybody = shown["receipts"]
        assert shown["channels"] == [f"user:{user}", f"topic:{user}", "all"]
        assert own["read_at"] and own["archived_at"] and not own["delivered_at"]
        assert (topic["read"], everybody["read"], everybody["archived"]) == (0, 1, 1)

    def test_export_under_way(self, inboxes: Service, user: str) -> None:
        """An export has each item once, even while the item is archived and unarchived."""
        target, *_ = [publish(inboxes, user) for _ in range(150)]
        ended = threading.Event()

        def archive_and_back() -> None:
            while not ended.is_set():
                do(inboxes, user, "archive", ids=[target])
                do(inboxes, user, "unarchive", ids=[target])

        thread = threading.Thread(target=archive_and_back)
        thread.start()
        try:
            for _ in range(30):
                exported = manage(inboxes, "GET", f"/v1/users/{user}/export").json["inbox"]
                ids = [item["notification"]["id"] for item in exported]
                assert ids.count(target) == 1
        finally:
            ended.set()
            thread.join()

    def test_explain(self, inboxes: Service, user: str) -> None:
        """A dry run reports who would receive the notification, and publishes nothing."""
        manage(inboxes, "PUT", f"/v1/topics/{user}/members/{user}")
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        note = {"to": {"users": [user, f"{user}-2"], "topics": [user]}, "title": "x"}
        with inboxes.client(user) as client:
            path = "/v1/notifications?dry_run=explain"
            found = inboxes.request("POST", path, note, headers).json["recipients"]
            assert [(each["channel"], each["reason"], each["pushed"]) for each in found] == [
                (f"user:{user}", "connected", True),
                (f"user:{user}-2", "offline", False),
                (f"topic:{user}", "connected", True),
            ]
            assert [member["user"] for member in found[2]["members"]] == [user]
            last = publish(inboxes, user)
            assert client.receive("notification")["notification"]["id"] == last


def test_redis_restarted(user: str) -> None:
    """After a restart of Redis, actions and publications count, and all connections have the same counts."""
    with running_valkey() as valkey, Service(redis_url=valkey.url, heartbeat=5) as service:
        manage(service, "PUT", f"/v1/topics/{user}/members/{user}")
        for to in (user, "all", f"#{user}"):
            publish(service, to)
        with service.on_each_worker(user) as clients:
            valkey.stop()
            valkey.start()
            eventually(lambda: service.publish({"to": {"topics": [user]}, "title": "x"}).status == 201)
            eventually(lambda: ask(service, user, "POST", "/v1/inbox/read", {"up_to": FUTURE}).status == 200)
            eventually(service.is_ready)  # including the worker that has not answered yet
            told = ask(service, user, "GET", COUNTS).json
            for client in clients:
                last = client.welcome
                while (last["counts"], last["revision"]) != (told["counts"], told["revision"]):
                    last = client.receive("state")
            assert told["counts"] == counts(0, 0)
            publish(service, f"#{user}")
            for client in clients:
                state(client, counts=counts(1, 1))


class Device:
    """A WebSocket client of the user that records every state frame."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.states = [client.welcome]
        self._refs = itertools.count()

    def do(self, action: str, target: dict[str, Any]) -> None:
        ref = f"d{next(self._refs)}"
        self.client.send(action, ref=ref, **target)
        while (frame := self.receive()).get("ref") != ref:
            pass
        assert frame["type"] == "ok", frame

    def receive(self) -> dict[str, Any]:
        frame = self.client.receive()
        if frame["type"] == "state":
            self.states.append(frame)
        return frame

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [change for told in self.states for change in told.get("changes", [])]


def test_a_thousand_random_operations(user: str) -> None:
    """Three clients of one user do 1,000 random operations at once: in the end they agree with each other and a model.

    A client that gets every revision knows the order of the operations, and the model applies them in that order.
    """
    with Service(workers=2, user_action_rate=10_000) as service:  # a fast machine does more than 100 a second
        manage(service, "PUT", f"/v1/topics/{user}/members/{user}")
        model = Model(user)
        with service.on_each_worker(user) as clients:
            devices = [Device(client) for client in clients]
            failures: list[BaseException] = []

            def post(action: str, target: dict[str, Any]) -> None:
                do(service, user, action, **target)

            def play(seed: int, act: Any, operations: int) -> None:
                try:
                    rng = random.Random(seed)
                    for number in range(operations):
                        operate(service, user, model, rng, act, f"{seed}-{number}")
                except BaseException as failure:
                    failures.append(failure)
                    raise

            players = [*(device.do for device in devices), post]
            threads = [
                threading.Thread(target=play, args=(seed, act, 334)) for seed, act in enumerate(players, start=2026)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures

            told = ask(service, user, "GET", COUNTS).json
            for device in devices:
                # A state may come before the changes that it includes; they follow.
                while device.states[-1] | told != device.states[-1] or len(device.changes) < told["revision"] - 1:
                    device.receive()
                revisions = [change["revision"] for change in device.changes]
                assert revisions == list(range(2, told["revision"] + 1))  # revision 1 is the membership
            assert devices[0].changes == devices[1].changes

        for change in devices[0].changes:
            model.carry_out(change)
        expected = model.inbox()
        listed = {}
        for status in ("all", "archived"):
            path, before = f"/v1/inbox?status={status}&limit=100", ""
            while before is not None:
                page = ask(service, user, "GET", path + (f"&before={before}" if before else "")).json
                for item in page["items"]:
                    flags = "".join(flag[0] for flag in ("archived", "read", "seen") if item[flag])
                    assert listed.setdefault(item["notification"]["id"], flags) == flags
                before = page["next"]
        assert listed == expected
        unread = sum("r" not in flags for flags in expected.values())
        unseen = sum("s" not in flags for flags in expected.values())
        assert told["counts"] == counts(unread, unseen)
        for answer in service.from_each_worker(lambda: ask(service, user, "GET", COUNTS)):
            assert answer.json == told
        with service.on_each_worker(user) as clients:
            assert [client.welcome["counts"] for client in clients] == [told["counts"]] * 2


def operate(service: Service, user: str, model: Model, rng: random.Random, act: Any, name: str) -> None:
    """Do one random operation."""
    ids = list(model.items)
    kind = rng.random()
    if kind < 0.3 or len(ids) < 3:
        to = rng.choice(
            [["user"], ["user"], ["all"], ["topic"], ["user", "all"], ["user", "all", "topic"], ["all", "topic"]]
        )
        key = f"{'+'.join(to)}-{rng.randrange(3)}" if rng.random() < 0.3 else None
        address = {
            "users": [user] if "user" in to else [],
            "topics": [user] if "topic" in to else [],
            "all": "all" in to,
        }
        answer = service.publish({"to": address, "title": name} | ({"collapse_key": key} if key else {})).json
        model.items[answer["id"]] = {each["channel"]: Copy(each["cursor"]) for each in answer["channels"]}
        if key:
            model.keys.setdefault(key, []).append(answer["id"])
    elif kind < 0.36:
        id = rng.choice(ids)
        if service.recall(id).status == 204:
            model.recalled.add(id)
    else:
        action = rng.choice(list(Model.ACTIONS))
        if rng.random() < 0.2:
            copy = rng.choice(list(model.items[rng.choice(ids[-20:])].values()))
            next_millisecond()  # the model does not know what is published after the action with the same cursor
            act(action, {"up_to": f"{copy.place[0]}-{copy.place[1]}"})
        else:
            chosen = rng.sample(ids, rng.randrange(1, min(len(ids), 6)))
            act(action, {"ids": [*chosen, str(uuid4())]})
