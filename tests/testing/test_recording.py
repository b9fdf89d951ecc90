"""Recording clients: they answer like a service without other users."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from notifier import __version__
from notifier.client import (
    AsyncNotifierClient,
    Counts,
    MembersChanged,
    Mutes,
    NotifierClient,
    ProblemError,
    Published,
    SharedReceipt,
    State,
    UserReceipt,
)
from notifier.client.notification import Batch
from notifier.testing.recording import AsyncRecordingNotifier, RecordingNotifier
from tests.kit.cases import rows


@pytest.fixture
def notifier() -> RecordingNotifier:
    """A client that has published to Alice, to a topic and to all."""
    notifier = RecordingNotifier()
    notifier.publish(to={"users": ["alice"]}, title="First", type="order.shipped")
    notifier.publish(to={"topics": ["orders"]}, title="Second", severity="error")
    notifier.publish(to={"all": True}, title="Third")
    notifier.publish(to={"users": ["alice"]}, title="Nowhere", retain="none")
    return notifier


def titles(notifier: RecordingNotifier, **filters: Any) -> list[str]:
    """Return the titles of a list."""
    return [item.notification["title"] for item in notifier.inbox(token="any").items(**filters)]


class TestInbox:
    """The only inbox."""

    def test_list(self, notifier: RecordingNotifier) -> None:
        """It contains notifications for inboxes, the newest first."""
        assert titles(notifier) == ["Third", "Second", "First"]

    @pytest.mark.parametrize(
        "filters, found",
        [
            ({"type": "order.shipped"}, ["First"]),
            ({"type": ["order.shipped", "other"]}, ["First"]),
            ({"topic": "orders"}, ["Second"]),
            ({"severity": "error"}, ["Second"]),
            ({"status": "archived"}, []),
        ],
    )
    def test_filters(self, notifier: RecordingNotifier, filters: Any, found: list[str]) -> None:
        """It can be filtered like a real one."""
        assert titles(notifier, **filters) == found

    def test_pages(self, notifier: RecordingNotifier) -> None:
        """It is listed page by page."""
        inbox = notifier.inbox()
        first = inbox.list(limit=2)
        second = inbox.list(limit=2, before=first.next)
        assert [item.notification["title"] for item in (*first.items, *second.items)] == ["Third", "Second", "First"]
        assert second.next is None
        assert first.cursor == first.items[0].cursor

    def test_actions(self, notifier: RecordingNotifier) -> None:
        """Actions change the list and the counts."""
        inbox = notifier.inbox()
        third, second, first = (item.id for item in inbox.items())
        assert inbox.counts() == Counts(3, 3, 0)
        assert inbox.seen(third).counts == Counts(3, 2, 1)
        assert inbox.read([second, "unknown"]).unknown == ("unknown",)
        assert titles(notifier, status="unread") == ["Third", "First"]
        assert inbox.archive(first).counts == Counts(1, 0, 3)
        assert titles(notifier, status="archived") == ["First"]
        assert not inbox.archive(first).changed
        assert inbox.unread(first).counts == Counts(2, 0, 4)
        assert inbox.read(up_to=inbox.list().cursor).counts == Counts(0, 0, 5)
        assert inbox.unarchive(first).changed is False

    def test_mutes(self, notifier: RecordingNotifier) -> None:
        """Muted items are listed, but not counted."""
        inbox = notifier.inbox()
        assert inbox.set_mutes(types=["chat.said"]) == inbox.mutes() == Mutes(("chat.said",))
        published = notifier.publish(to={"users": ["alice"]}, type="chat.said")
        assert published.channels[0].suppressed == "muted_type"
        assert inbox.list().items[0].muted
        assert inbox.counts().unread == 3

    def test_recall(self, notifier: RecordingNotifier) -> None:
        """Recalled items leave the list."""
        notifier.recall(notifier.inbox().list().items[0].id)
        assert titles(notifier) == ["Second", "First"]

    @pytest.mark.parametrize(
        "ask, code",
        [
            (lambda inbox: inbox.read(), "invalid_inbox_action"),
            (lambda inbox: inbox.read([str(number) for number in range(1001)]), "invalid_inbox_action"),
            (lambda inbox: inbox.read(up_to="yesterday"), "invalid_inbox_action"),
            (lambda inbox: inbox.set_mutes([str(number) for number in range(101)]), "invalid_inbox_action"),
            (lambda inbox: inbox.list(limit=101), "bad_request"),
            (lambda inbox: inbox.list(before="elsewhere"), "bad_request"),
            (lambda inbox: inbox.list(status="new"), "bad_request"),
        ],
    )
    def test_refused(self, notifier: RecordingNotifier, ask: Callable[[Any], Any], code: str) -> None:
        """Requests that a service would reject are rejected."""
        with pytest.raises(ProblemError) as raised:
            ask(notifier.inbox())
        assert raised.value.code == code


class TestBackend:
    """Members and users, as backends manage them."""

    def test_members(self, notifier: RecordingNotifier) -> None:
        """Members are added, listed and removed."""
        notifier.add_member("orders", "bob")
        assert notifier.change_members("orders", ["alice", "bob", "carl"]) == MembersChanged(2, 0)
        assert notifier.change_members("orders", remove=["alice", "dora"]) == MembersChanged(0, 1)
        notifier.remove_member("orders", "carl")
        assert list(notifier.members("orders")) == ["bob"]
        assert list(notifier.members("other")) == []

    @pytest.mark.parametrize("name", ["a b", "{a}", "x" * 129])
    def test_wrong_name(self, notifier: RecordingNotifier, name: str) -> None:
        """Invalid names are rejected."""
        for ask in (notifier.add_member, notifier.remove_member):
            with pytest.raises(ProblemError, match="bad_request"):
                ask("orders", name)
        with pytest.raises(ProblemError, match="bad_request"):
            notifier.erase_user(name)

    def test_users(self, notifier: RecordingNotifier) -> None:
        """Erased and disconnected users are recorded, and the data of erased ones is removed."""
        notifier.add_member("orders", "alice")
        export = notifier.export_user("alice")
        assert [item["notification"]["title"] for item in export["inbox"]] == ["First"]
        assert export["topics"] == ["orders"]
        notifier.disconnect_user("bob")
        notifier.erase_user("alice")
        assert (notifier.erased, notifier.disconnected) == (["alice"], ["bob"])
        notifier.disconnect_user("eve", revoke=True)
        notifier.revoke_token("x")
        assert notifier.revoked == [{"user": "eve"}, {"jti": "x"}]
        assert notifier.create_token("bob") == "token-of-bob"
        assert titles(notifier) == ["Third", "Second"]
        assert list(notifier.members("orders")) == []

    def test_receipts(self, notifier: RecordingNotifier) -> None:
        """A receipt states that the notification was stored, and neither delivered nor read."""
        published = notifier.publish(to={"users": ["alice"], "all": True}, title="Hello")
        user, everybody = notifier.receipts(published.id)
        assert isinstance(user, UserReceipt) and (user.channel, user.delivered_at) == ("user:alice", None)
        assert isinstance(everybody, SharedReceipt) and (everybody.channel, everybody.read) == ("all", 0)
        with pytest.raises(ProblemError, match="not_found"):
            notifier.receipts("unknown")

    def test_keys(self, notifier: RecordingNotifier) -> None:
        """Keys are created, rotated, listed and revoked by the rules of the service."""
        made = notifier.create_key("Shop", ["publish"], users="shop:*", expires_in=60)
        assert made.text.startswith(f"nk_live_{made.key.id}_") and made.key.expires_at
        new = notifier.rotate_key(made.key.id, overlap=60)
        assert new.text != made.text and new.key.old_secret_until
        with pytest.raises(ProblemError, match="key_rotating"):
            notifier.rotate_key(made.key.id)
        notifier.rotate_key(made.key.id, overlap=0)
        notifier.revoke_key(made.key.id)
        [key] = notifier.api_keys()
        assert (key.name, key.users, bool(key.revoked_at)) == ("Shop", ("shop:*",), True)
        for change in (notifier.rotate_key, notifier.revoke_key):
            with pytest.raises(ProblemError, match="not_found"):
                change("unknown")
        with pytest.raises(ProblemError, match="invalid_key_request"):
            notifier.create_key("Shop", ["everything"])

    def test_audit_of_a_tenant(self, notifier: RecordingNotifier) -> None:
        """The audit log of another tenant has nothing that the client does. Long logs are read page by page."""
        for number in range(250):
            notifier.disconnect_user(f"user-{number}")
        entries = list(notifier.audit())
        assert [entry.target["user"] for entry in entries[:250]] == [f"user-{number}" for number in range(249, -1, -1)]
        assert len(entries) == 251
        assert list(notifier.audit(tenant="acme")) == []
        with pytest.raises(ProblemError) as raised:
            list(notifier.audit(tenant="no tenant"))
        assert raised.value.status == 400

    def test_audit(self, notifier: RecordingNotifier) -> None:
        """Actions that a service would record are recorded, the newest first."""
        notifier.recall(notifier.inbox().list().items[0].id)
        notifier.add_member("orders", "bob")
        notifier.disconnect_user("bob", revoke=True)
        notifier.export_user("bob")
        notifier.erase_user("bob")
        assert [entry.action for entry in notifier.audit()] == [
            "user.erased",
            "user.exported",
            "tokens.revoked",
            "user.disconnected",
            "members.changed",
            "notification.recalled",
            "notification.broadcast",
        ]

    def test_explain(self, notifier: RecordingNotifier) -> None:
        """An explanation reports all users as offline, and publishes nothing."""
        notifier.add_member("orders", "alice")
        before = len(notifier.published)
        user, topic = notifier.explain(to={"users": ["bob"], "topics": ["orders"]}, title="Hello")
        assert (user.reason, user.stored, user.pushed) == ("offline", True, False)
        assert [member.user for member in topic.members] == ["alice"]
        [nowhere] = notifier.explain(to={"users": ["bob"]}, title="Hello", retain="none")
        assert (nowhere.reason, nowhere.stored) == ("not_kept_and_offline", False)
        with pytest.raises(ProblemError, match="/titel"):
            notifier.explain({"to": {"users": ["bob"]}, "titel": "Hello"})
        assert len(notifier.published) == before


def test_listen(notifier: RecordingNotifier) -> None:
    """A stream yields the events that a test provides, states too."""
    state = State(Counts(1, 1, 1))
    notifier.incoming.append(state)
    with notifier.listen(inbox=True) as stream:
        assert list(stream) == [state]


def test_async() -> None:
    """The clients for asyncio do the same."""

    async def run() -> None:
        notifier = AsyncRecordingNotifier()
        published = await notifier.publish(to={"topics": ["orders"]}, title="Hello")
        inbox = notifier.inbox(token="any")
        assert [item.id async for item in inbox.items()] == [published.id]
        assert (await inbox.read(published.id)).counts == await inbox.counts()
        await notifier.add_member("orders", "alice")
        assert [user async for user in notifier.members("orders")] == ["alice"]
        assert len(await notifier.receipts(published.id)) == 1
        await notifier.erase_user("alice")
        assert notifier.erased == ["alice"]
        made = await notifier.create_key("Shop", "publish")
        await notifier.rotate_key(made.key.id)
        await notifier.revoke_key(made.key.id)
        assert [key.id async for key in notifier.api_keys()] == [made.key.id]
        assert [entry.action async for entry in notifier.audit()][0] == "key.revoked"

    asyncio.run(run())


@rows(("recording", "real"), [(RecordingNotifier, NotifierClient), (AsyncRecordingNotifier, AsyncNotifierClient)])
def test_signatures(recording: type, real: type) -> None:
    """Recording clients have every method of real ones, with the same arguments."""
    names = [name for name in dir(real) if not name.startswith("_") and callable(getattr(real, name))]
    assert len(names) > 20
    for name in names:
        asked, given = inspect.signature(getattr(real, name)), inspect.signature(getattr(recording, name))
        assert list(given.parameters.values()) == list(asked.parameters.values()), name


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.create_token("no user"),
        lambda client: client.create_token("alice", topics=["{"]),
        lambda client: client.create_token("alice", expires_in=0),
        lambda client: client.revoke_tokens("alice", issued_before=1e12),
        lambda client: client.revoke_tokens("no user"),
    ],
)
def test_invalid_tokens(notifier: RecordingNotifier, call: Callable[[RecordingNotifier], object]) -> None:
    """Requests for tokens are checked like those to a service, and rejected ones are not recorded."""
    with pytest.raises(ProblemError, match="invalid_token_request"):
        call(notifier)
    assert notifier.revoked == []


def test_batch(notifier: RecordingNotifier) -> None:
    """The lines of a batch have the results that the same notifications of `publish_many` have."""
    batch = Batch("key", [b'{"to":{"all":true},"title":"A"}', b"{}"], offset=3)
    first, refused = notifier.publish_batch(batch)
    assert isinstance(first, Published) and isinstance(refused, ProblemError)
    again, _ = notifier.publish_batch(batch)
    assert isinstance(again, Published) and again.replayed and again.id == first.id


def test_status(notifier: RecordingNotifier) -> None:
    """The status has the version."""
    assert notifier.status()["version"] == __version__


def test_capitals(notifier: RecordingNotifier) -> None:
    """An id in capitals is the same id (RFC 9562)."""
    id = notifier.inbox().list().items[0].id
    assert notifier.inbox().read(id.upper()).changed
    assert notifier.find(id.upper()) == notifier.find(id) == ["all"]
    assert notifier.receipts(id.upper()) == notifier.receipts(id)
    notifier.recall(id.upper())
    assert notifier.recalled == [id]
    with pytest.raises(ProblemError):
        notifier.find(id)
