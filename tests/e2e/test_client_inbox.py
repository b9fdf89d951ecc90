"""The inbox of the Python client with a real service."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.client import (
    AsyncNotifierClient,
    Counts,
    Inbox,
    Item,
    Mutes,
    NotifierClient,
    ProblemError,
    Received,
    Removed,
    SharedReceipt,
    State,
    Stream,
    StreamClosed,
    TooOld,
    UserReceipt,
)
from tests.kit.middle import Middle, Reply
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE, eventually, next_millisecond


@pytest.fixture
def client(service: Service, user: str) -> Iterator[NotifierClient]:
    """A client with an API key and the token of a user."""
    url = f"http://127.0.0.1:{service.port}"
    with NotifierClient(url, api_key=API_KEY, token=service.token(user), deadline=DEADLINE) as client:
        yield client


@pytest.fixture
def inbox(client: NotifierClient) -> Inbox:
    """The inbox of the user."""
    return client.inbox()


def fill(client: NotifierClient, user: str, count: int, **members: Any) -> list[str]:
    """Publish to a user, and return the ids in a later millisecond."""
    published = [client.publish(members, to={"users": [user]}, title=str(number)).id for number in range(count)]
    next_millisecond()
    return published


def ids(items: Any) -> list[str]:
    """Return the ids of items."""
    return [item.id for item in items]


class TestList:
    """Lists and pages."""

    def test_item(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """An item has the notification, its cursor and its flags."""
        published = client.publish(to={"users": [user]}, title="Hello", data={"order": 1042})
        [item] = inbox.list().items
        cursor = published.channels[0].cursor
        assert item == Item(
            published.id, f"user:{user}", cursor, item.notification, seen=False, read=False, archived=False, muted=False
        )
        assert item.notification["data"] == {"order": 1042}

    def test_pages(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Pages, and the iterator, have each item once, newest first."""
        published = fill(client, user, 250)
        first = inbox.list(limit=100)
        second = inbox.list(limit=100, before=first.next)
        third = inbox.list(limit=100, before=second.next)
        newest_first = published[::-1]
        assert ids(first.items + second.items + third.items) == newest_first
        assert third.next is None
        assert first.counts == Counts(250, 250, first.counts.revision)
        assert ids(inbox.items()) == newest_first

    def test_filters(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Filters select items."""
        [shipped] = fill(client, user, 1, type="order.shipped")
        [failed] = fill(client, user, 1, severity="error")
        client.add_member(user, user)
        topic = client.publish(to={"topics": [user]}, title="Topic").id
        assert ids(inbox.items(type="order.shipped")) == [shipped]
        assert ids(inbox.items(severity=["error", "critical"])) == [failed]
        assert ids(inbox.items(topic=user)) == [topic]
        assert ids(inbox.items(type="order.shipped", severity="error")) == []
        inbox.read(failed)
        inbox.archive(shipped)
        assert ids(inbox.items(status="unread")) == [topic]
        assert ids(inbox.items(status="archived")) == [shipped]
        assert ids(inbox.items()) == [topic, failed]

    def test_expiry(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """The counts have the time of the next expiry."""
        published = client.publish(to={"users": [user]}, title="Hello", ttl=3600)
        expires = inbox.counts().expires_at
        assert expires and 3590 < (expires - published.created_at).total_seconds() < 3610

    @pytest.mark.parametrize("limit", [0, 101, -1])
    def test_wrong_limit(self, inbox: Inbox, limit: int) -> None:
        """A page of fewer than 1 or more than 100 items is rejected."""
        with pytest.raises(ProblemError, match="400 bad_request: limit"):
            inbox.list(limit=limit)

    @pytest.mark.parametrize("before", ["", "yesterday", "5-1", "5-1~elsewhere", "5-1~user:a&status=archived"])
    def test_cursor_from_elsewhere(self, client: NotifierClient, inbox: Inbox, user: str, before: str) -> None:
        """An invalid cursor is rejected; a cursor of another user's list reveals nothing of it."""
        fill(client, user, 1)
        try:
            assert inbox.list(before=before).items == ()
        except ProblemError as problem:
            assert problem.code == "bad_request"

    @pytest.mark.parametrize("token", ["none", "a.b.c"])
    def test_wrong_token(self, client: NotifierClient, token: str) -> None:
        """The inbox needs a valid token."""
        with pytest.raises(ProblemError) as raised:
            client.inbox(token=token).list()
        assert raised.value.status == 401


class TestActions:
    """Actions on items."""

    def test_actions(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Each action returns the new counts and can be repeated."""
        first, second, third = fill(client, user, 3)
        steps: list[tuple[Any, Any, tuple[int, int]]] = [
            (inbox.seen, first, (3, 2)),
            (inbox.read, [second], (2, 1)),
            (inbox.archive, [third], (1, 0)),
            (inbox.unread, [third], (2, 0)),
            (inbox.archive, [third, second], (1, 0)),
            (inbox.unarchive, (third,), (1, 0)),
        ]
        for act, which, counts in steps:
            done, again = act(which), act(which)
            assert done.changed and not again.changed
            assert done.counts[:2] == again.counts[:2] == counts
            assert done.counts.revision == again.counts.revision
        assert ids(inbox.items()) == [third, first]

    def test_up_to(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Notifications newer than the list stay unread."""
        fill(client, user, 3)
        page = inbox.list(limit=1)
        [late] = fill(client, user, 1)
        assert inbox.read(up_to=page.cursor).counts.unread == 1
        assert ids(inbox.items(status="unread")) == [late]

    def test_future(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A cursor in the future means everything up to now."""
        fill(client, user, 1)
        assert inbox.read(up_to="9999999999999-0").counts.unread == 0
        fill(client, user, 1)
        assert inbox.counts().unread == 1

    def test_unknown(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Unknown ids, and those of other users, are returned; the action applies to the others."""
        [own] = fill(client, user, 1)
        [other] = fill(client, f"{user}-2", 1)
        marked = inbox.read([own, other, "no-id"])
        assert (marked.changed, set(marked.unknown)) == (True, {other, "no-id"})

    @pytest.mark.parametrize(
        "aim, pointer",
        [
            ({}, ""),
            ({"ids": ["a"], "up_to": "5-1"}, ""),
            ({"ids": [str(number) for number in range(1001)]}, "/ids"),
            ({"ids": [str(number) for number in range(10_000)]}, ""),
            ({"ids": "x" * 129}, "/ids/0"),
            ({"up_to": "yesterday"}, "/up_to"),
        ],
    )
    def test_refused(self, inbox: Inbox, aim: dict[str, Any], pointer: str) -> None:
        """A rejected action names its faults."""
        with pytest.raises(ProblemError) as raised:
            inbox.read(**aim)
        assert (raised.value.code, raised.value.pointers) == ("invalid_inbox_action", [pointer])

    def test_nothing(self, inbox: Inbox) -> None:
        """An action without ids changes nothing."""
        marked = inbox.read([])
        assert (marked.changed, marked.unknown) == (False, ())

    def test_lost_answer(self, service: Service, client: NotifierClient, user: str) -> None:
        """If the answer is lost, the client repeats the action, which changes nothing more."""
        [id] = fill(client, user, 1)
        with (
            Middle(service.port, lambda number, reply: reply if number > 1 else None) as middle,
            NotifierClient(middle.url, token=service.token(user)) as shaky,
        ):
            marked = shaky.inbox().read(id)
            assert middle.requests == 2
        assert (marked.changed, marked.counts.unread) == (False, 0)

    def test_mutes(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A muted notification is listed, but neither counted nor pushed; the publisher gets the reason."""
        client.add_member(user, user)
        assert inbox.mutes() == Mutes()
        assert inbox.set_mutes("chat.said", [user]) == inbox.mutes() == Mutes(("chat.said",), (user,))
        with client.listen() as stream:
            muted = client.publish(to={"users": [user]}, type="chat.said", title="Muted")
            client.publish(to={"topics": [user]}, title="Muted")
            heard = client.publish(to={"users": [user]}, title="Heard")
            event = next(stream)
            assert isinstance(event, Received) and event.id == heard.id
        assert muted.channels[0].suppressed == "muted_type"
        assert heard.channels[0].suppressed is None
        assert [item.muted for item in inbox.items()] == [False, True, True]
        assert inbox.counts().unread == 1
        with pytest.raises(ProblemError, match="invalid_inbox_action"):
            inbox.set_mutes([str(number) for number in range(101)])


class TestListen:
    """State events of a stream."""

    def test_states(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Each change arrives with the service's counts, also at the client that made it."""
        with client.listen(inbox=True) as stream:
            first = state(stream)
            assert (first.counts[:2], first.reload, first.changes, first.topics) == ((0, 0), True, (), ())
            [id] = fill(client, user, 1)
            new = state(stream)
            assert (new.counts[:2], new.reload, new.changes) == ((1, 1), False, ())
            inbox.read(id)
            read = state(stream)
            assert (read.counts[:2], read.reload) == ((0, 0), False)
            assert [(change.action, change.ids) for change in read.changes] == [("read", (id,))]
            assert stream.counts == read.counts
            inbox.unread(up_to=inbox.list().cursor)
            assert [change.action for change in state(stream).changes] == ["unread"]
            client.recall(id)
            assert until(stream, Removed).id == id
            assert state(stream).counts.unread == 0

    def test_topics(self, client: NotifierClient, user: str) -> None:
        """A new member gets the topic in its state, and receives the topic's notifications at once."""
        with client.listen(inbox=True) as stream:
            state(stream)
            client.add_member(user, user)
            joined = state(stream)
            assert (joined.topics, [change.action for change in joined.changes]) == ((user,), ["topics"])
            published = client.publish(to={"topics": [user]}, title="Hello")
            # In either order: what was published before the topic was subscribed to comes from the log.
            received, counted = both(stream, Received, State)
            assert (received.id, counted.counts.unread) == (published.id, 1)
            client.remove_member(user, user)
            left = state(stream)
            assert (left.topics, left.counts.unread) == ((), 0)

    def test_not_asked_for(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """Without `inbox=True` a stream yields no states, but knows the latest one."""
        with client.listen() as stream:
            [first] = fill(client, user, 1)
            assert until(stream, Received).id == first
            inbox.read(first)
            [second] = fill(client, user, 1)
            event = next(stream)
            assert isinstance(event, Received) and event.id == second
            assert stream.counts is not None


def state(stream: Stream) -> State:
    """Return the next state."""
    return until(stream, State)


def until(stream: Stream, kind: type[Any]) -> Any:
    """Return the next event of a kind."""
    return next(event for event in stream if isinstance(event, kind))


def both(stream: Stream, *kinds: type[Any]) -> tuple[Any, ...]:
    """Return the next event of each kind, in whichever order they arrive."""
    found: dict[type[Any], Any] = {}
    for event in stream:
        found.setdefault(type(event), event)
        if found.keys() >= set(kinds):
            break
    return tuple(found[kind] for kind in kinds)


class TestReceipts:
    """Receipts of a notification."""

    def test_user(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A receipt shows when a notification was stored, delivered, read and archived."""
        with client.listen() as stream:
            [id] = fill(client, user, 1)
            [receipt] = client.receipts(id)
            assert receipt == UserReceipt(f"user:{user}", receipt.stored_at)
            next(stream)  # and end with it
        eventually(lambda: delivered(client, id))
        inbox.read(id)
        inbox.archive(id)
        [receipt] = client.receipts(id)
        assert isinstance(receipt, UserReceipt)
        assert receipt.delivered_at and receipt.read_at and receipt.archived_at

    def test_while_it_stays(self, client: NotifierClient, user: str) -> None:
        """A stream acknowledges a notification while it waits for the next one."""
        with client.listen() as stream:
            [id] = fill(client, user, 1)
            next(stream)
            watcher = threading.Thread(target=publish_when_delivered, args=(client, id, user))
            watcher.start()
            next(stream)
            watcher.join(DEADLINE)
        assert delivered(client, id)

    def test_shared(self, service: Service, client: NotifierClient, user: str) -> None:
        """The receipt of a topic has counts."""
        names = [f"{user}-{number}" for number in range(3)]
        client.change_members(user, names)
        id = client.publish(to={"topics": [user]}, title="Hello").id
        client.inbox(token=service.token(names[0])).read(id)
        client.inbox(token=service.token(names[1])).archive(id)
        [receipt] = client.receipts(id)
        assert receipt == SharedReceipt(f"topic:{user}", receipt.stored_at, receipt.delivered, read=2, archived=1)

    def test_unknown(self, client: NotifierClient) -> None:
        """An unknown notification has no receipts."""
        for id in ("unknown", "01a214ac-ae9b-750e-8040-1eb44169066f"):
            with pytest.raises(ProblemError, match="not_found"):
                client.receipts(id)


def publish_when_delivered(client: NotifierClient, id: str, user: str) -> None:
    """Publish another notification when one was delivered."""
    eventually(lambda: delivered(client, id))
    fill(client, user, 1)


def delivered(client: NotifierClient, id: str) -> bool:
    """Return whether a notification was delivered to its user."""
    [receipt] = client.receipts(id)
    assert isinstance(receipt, UserReceipt)
    return receipt.delivered_at is not None


class TestBackend:
    """Requests of a backend about its users."""

    def test_members(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A member has the topic's notifications in the inbox from the beginning of the membership to its end."""
        client.publish(to={"topics": [user]}, title="Before")
        client.add_member(user, user)
        client.add_member(user, user)
        id = client.publish(to={"topics": [user]}, title="Hello").id
        assert ids(inbox.items()) == [id]
        client.remove_member(user, user)
        client.remove_member(user, user)
        assert ids(inbox.items()) == []

    def test_many_members(self, client: NotifierClient, user: str) -> None:
        """More members than one request may have are changed and listed."""
        names = sorted(f"{user}-{number}" for number in range(2100))
        done = client.change_members(user, add=iter(names))
        assert (done.added, done.removed, done.refused) == (2100, 0, ())
        assert list(client.members(user)) == names
        again = client.change_members(user, add=names[:10], remove=[*names[2000:], "nobody"])
        assert (again.added, again.removed) == (0, 100)
        assert list(client.members(user)) == names[:2000]

    @pytest.mark.parametrize("name", ["a/b", "/a", "a?b#c%2F", "\u00fc@\u4f60", ".", "..", "a:b&c=d+e"])
    def test_any_names(self, service: Service, client: NotifierClient, user: str, name: str) -> None:
        """Names with special characters work in all calls."""
        topic, member = f"{user}{name}", f"{name}{user}"
        client.add_member(topic, member)
        client.change_members(topic, [f"{member}-2"])
        assert list(client.members(topic)) == sorted([member, f"{member}-2"])
        client.remove_member(topic, f"{member}-2")
        id = client.publish(to={"users": [member], "topics": [topic]}, title="Hello").id
        inbox = client.inbox(token=service.token(member))
        assert inbox.set_mutes(topics=[topic]).topics == (topic,)
        export = client.export_user(member)
        assert (export["user"], export["topics"]) == (member, [topic])
        assert ids(inbox.items()) == [id]
        client.erase_user(member)
        assert (ids(inbox.items()), list(client.members(topic))) == ([], [])

    @pytest.mark.parametrize("name", ["a b", "x" * 129, "{a}"])
    def test_wrong_names(self, client: NotifierClient, name: str) -> None:
        """Invalid names are rejected in all calls."""
        asks = [
            lambda: client.add_member("orders", name),
            lambda: client.add_member(name, "alice"),
            lambda: client.change_members("orders", [name]),
            lambda: list(client.members(name)),
            lambda: client.erase_user(name),
            lambda: client.export_user(name),
            lambda: client.disconnect_user(name),
        ]
        for ask in asks:
            with pytest.raises(ProblemError) as raised:
                ask()
            assert raised.value.status in (400, 422)

    def test_export_and_erase(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A user's data can be exported and erased; the erasure closes their streams."""
        [id] = fill(client, user, 1)
        client.add_member(user, user)
        inbox.set_mutes("a")
        export = client.export_user(user)
        assert (export["user"], export["topics"], export["mutes"]) == (user, [user], {"types": ["a"], "topics": []})
        assert [item["notification"]["id"] for item in export["inbox"]] == [id]
        with client.listen() as stream:
            client.erase_user(user)
            with pytest.raises(StreamClosed) as closed:
                next(stream)
        assert closed.value.code == 4502
        assert (ids(inbox.items()), inbox.mutes(), list(client.members(user))) == ([], Mutes(), [])
        assert client.export_user(user)["inbox"] == []

    def test_disconnect(self, client: NotifierClient, user: str) -> None:
        """A disconnected client does not reconnect."""
        with client.listen() as stream:
            client.disconnect_user(user)
            with pytest.raises(StreamClosed, match="4502 disconnected"):
                next(stream)

    def test_explain(self, client: NotifierClient, inbox: Inbox, user: str) -> None:
        """A dry run reports what would happen and why, and publishes nothing."""
        inbox.set_mutes(topics=user)
        client.change_members(user, [user, f"{user}-2"])
        with client.listen() as stream:
            own, topic = client.explain(to={"users": [user], "topics": [user]}, title="Hello")
            assert (own.channel, own.online, own.stored, own.pushed, own.reason) == (
                f"user:{user}",
                True,
                True,
                True,
                "connected",
            )
            assert (topic.channel, topic.member_count) == (f"topic:{user}", 2)
            assert [(member.user, member.reason) for member in topic.members] == [
                (user, "muted_topic"),
                (f"{user}-2", "offline"),
            ]
            id = client.publish(to={"users": [user]}, title="Published").id
            event = next(stream)
            assert isinstance(event, Received) and event.id == id
        [nobody] = client.explain(to={"users": [f"{user}-3"]}, title="Hello", retain="none")
        assert (nobody.stored, nobody.reason) == (False, "not_kept_and_offline")
        with pytest.raises(ProblemError, match="/titel"):
            client.explain({"to": {"users": [user]}, "titel": "Hello"})


def test_older_service(service: Service, user: str) -> None:
    """A service without dry runs is reported, and publishes nothing."""

    def older(number: int, reply: Reply) -> Reply:
        if number % 2 == 0:  # asks whether the path of the URL is right
            return reply
        return reply._replace(status=404, body=b'{"status": 404, "code": "not_found", "title": "Not found."}')

    with (
        Middle(service.port, older) as middle,
        NotifierClient(middle.url, api_key=API_KEY, token=service.token(user)) as client,
    ):
        with pytest.raises(TooOld, match="which has no inbox yet. Update the service."):
            client.inbox().counts()
        with pytest.raises(TooOld, match="which has no explanations yet. Update the service."):
            client.explain(to={"users": [user]}, title="Hello")
        assert middle.requests == 4


def test_async(service: Service, user: str) -> None:
    """The same with asyncio."""

    async def run() -> None:
        url, token = f"http://127.0.0.1:{service.port}", service.token(user)
        async with AsyncNotifierClient(url, api_key=API_KEY, token=token, deadline=DEADLINE) as client:
            inbox = client.inbox()
            async with client.listen(inbox=True) as stream:
                assert isinstance(await anext(stream), State)
                published = [await client.publish(to={"users": [user]}, title=str(number)) for number in range(120)]
                newest = [one.id for one in published[::-1]]
                assert [item.id async for item in inbox.items()] == newest
                assert ids((await inbox.list(limit=1)).items) == newest[:1]
                for act in (inbox.seen, inbox.read, inbox.archive, inbox.unarchive, inbox.unread):
                    assert (await act(newest[0])).changed
                marked = await inbox.read(up_to=(await inbox.list()).cursor)
                assert marked.counts == await inbox.counts()
                async for event in stream:
                    if isinstance(event, State) and event.counts.unread == 0:
                        break
            assert await inbox.set_mutes("a") == await inbox.mutes()
            await client.add_member(user, user)
            await client.change_members(user, ["alice", "bob"], [user])
            await client.remove_member(user, "bob")
            assert [name async for name in client.members(user)] == ["alice"]
            assert len(await client.explain(to={"users": [user]}, title="Hello")) == 1
            async with asyncio.timeout(DEADLINE):
                while not (receipt := (await client.receipts(newest[0]))[0]).delivered_at:  # type: ignore[union-attr]
                    await asyncio.sleep(0.02)
            assert isinstance(receipt, UserReceipt) and receipt.read_at
            assert len((await client.export_user(user))["inbox"]) == 120
            async with client.listen() as stream:
                await client.disconnect_user(user)
                with pytest.raises(StreamClosed):
                    await anext(stream)
            await client.erase_user(user)
            assert (await inbox.list()).items == ()

    asyncio.run(run())
