"""The Python client with a real service."""

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from notifier import __version__
from notifier.client import (
    AsyncNotifierClient,
    Lost,
    NotifierClient,
    NotNotifier,
    ProblemError,
    Published,
    Received,
    Removed,
    Stream,
    TooNew,
    Unreachable,
)
from tests.kit.middle import PAGE, Middle, Reply
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture
def client(service: Service) -> Iterator[NotifierClient]:
    """A client of the shared service."""
    with NotifierClient(url_of(service), api_key=API_KEY, deadline=DEADLINE) as client:
        yield client


@pytest.fixture(scope="module")
def roomy() -> Iterator[Service]:
    """A service with a history from which a slow reader loses nothing."""
    with Service(workers=1, max_history=10_000) as service:
        yield service


def url_of(service: Service) -> str:
    """Return the URL of a service."""
    return f"http://127.0.0.1:{service.port}"


def numbered(user: str, count: int) -> list[dict[str, Any]]:
    """Return notifications with consecutive numbers, which show duplicates."""
    return [{"to": {"users": [user]}, "type": "test", "data": number} for number in range(count)]


def numbers(stream: Stream, last: object) -> list[int]:
    """Return the numbers that arrive, up to the given one."""
    got = []
    closer = threading.Timer(DEADLINE, stream.close)
    closer.start()
    for event in stream:
        assert isinstance(event, Received)
        got.append(event.notification["data"])
        if got[-1] == last:
            closer.cancel()
            return got
    raise AssertionError(f"{last} did not come, but {got}")


class TestPublish:
    """Publishing."""

    def test_one(self, service: Service, client: NotifierClient, user: str) -> None:
        """A notification given as keyword arguments is delivered, and can be shown and recalled."""
        with client.listen(token=service.token(user)) as stream:
            published = client.publish(to={"users": [user]}, title="Hello", severity="success", data={"order": 1042})
            event = next(stream)
            assert isinstance(event, Received)
            assert (event.id, event.channel, event.replay) == (published.id, f"user:{user}", False)
            assert event.notification["data"] == {"order": 1042}
            assert event.cursor == published.channels[0].cursor
            assert client.find(published.id) == [f"user:{user}"]
            client.recall(published.id)
            assert next(stream) == Removed(published.id, f"user:{user}", stream.position.cursor)  # type: ignore[union-attr]

    def test_mapping(self, client: NotifierClient, user: str) -> None:
        """A notification can be a mapping with keyword arguments that complete it."""
        message = {"title": "Hello"}
        assert client.publish(message, to={"users": [user]}).channels[0].channel == f"user:{user}"
        assert message == {"title": "Hello"}

    def test_as_user(self, service: Service, client: NotifierClient, user: str) -> None:
        """A user can publish to topics that the token grants, and to no others."""
        token = service.token(user, [user], publish=[user])
        with client.listen([user], token=token) as stream:
            accepted = client.publish_as_user(user, token=token, type="chat.said", body="Hello")
            event = next(stream)
            assert isinstance(event, Received)
            assert (event.id, event.cursor, event.notification["sender"]) == (accepted.id, accepted.cursor, user)
        with pytest.raises(ProblemError, match="forbidden"):
            client.publish_as_user("other", {"body": "Hello"}, token=token)

    def test_refused(self, client: NotifierClient, user: str) -> None:
        """A problem is raised as an exception with all its fields."""
        with pytest.raises(ProblemError) as raised:
            client.publish({"to": {"users": [user]}, "titel": "Hello"})
        assert raised.value.code == "invalid_notification"
        assert "/titel" in raised.value.pointers
        assert raised.value.request_id

    def test_wrong_key(self, service: Service) -> None:
        """A wrong API key is not retried."""
        with NotifierClient(url_of(service), api_key="nk_wrong") as client, pytest.raises(ProblemError) as raised:
            client.publish(to={"users": ["nobody"]}, title="Hello")
        assert raised.value.code == "invalid_api_key"

    def test_many(self, roomy: Service, user: str) -> None:
        """Many notifications are published in order, and an invalid one fails alone."""
        posts: list[Any] = numbered(user, 2500)
        posts[1200:1200] = [{"to": {}}, {"data": object()}]
        with (
            NotifierClient(url_of(roomy), api_key=API_KEY) as client,
            client.listen(token=roomy.token(user)) as stream,
        ):
            results = list(client.publish_many(iter(posts)))
            assert numbers(stream, 2499) == list(range(2500))
        assert [index for index, result in enumerate(results) if isinstance(result, ProblemError)] == [1200, 1201]
        assert len({result.id for result in results if isinstance(result, Published)}) == 2500

    def test_many_again(self, client: NotifierClient, user: str) -> None:
        """A repetition with the same keys publishes nothing twice."""
        posts = numbered(user, 1500)
        first = list(client.publish_many(posts, idempotency_key=user))
        again = list(client.publish_many(posts, idempotency_key=user))
        assert again == [result._replace(replayed=True) for result in first if isinstance(result, Published)]


class TestBadWays:
    """Faults between the client and the service."""

    def test_lost_answer(self, service: Service, client: NotifierClient, user: str) -> None:
        """If the answer is lost, the retry publishes nothing twice."""
        with (
            Middle(service.port, lambda number, reply: reply if number > 2 else None) as middle,
            NotifierClient(middle.url, api_key=API_KEY) as shaky,
            client.listen(token=service.token(user)) as stream,
        ):
            published = shaky.publish(to={"users": [user]}, type="test", data=1)
            assert published.replayed and middle.requests == 3
            client.publish(to={"users": [user]}, type="test", data=2)
            assert numbers(stream, 2) == [1, 2]

    def test_lost_answers_of_many(self, roomy: Service, user: str) -> None:
        """Lines whose answers are lost or truncated are not published twice."""

        def change(number: int, reply: Reply) -> Reply | None:
            return (None, reply, reply._replace(body=reply.body[:5000]))[number % 3] if number < 6 else reply

        with (
            Middle(roomy.port, change) as middle,
            NotifierClient(middle.url, api_key=API_KEY) as shaky,
            NotifierClient(url_of(roomy)).listen(token=roomy.token(user)) as stream,
        ):
            posts = numbered(user, 2500)
            results: list[Published | ProblemError] = []
            while len(results) < len(posts):
                try:
                    results = list(shaky.publish_many(posts, idempotency_key=user))
                except NotNotifier:  # truncated in the middle of a line
                    continue
            assert numbers(stream, 2499) == list(range(2500))

    def test_refused_connection(self) -> None:
        """If nothing listens, the error names the address."""
        with NotifierClient("http://127.0.0.1:9", api_key=API_KEY, deadline=0.5) as client:
            with pytest.raises(Unreachable, match="127.0.0.1:9.*Check the URL"):
                client.publish(to={"users": ["nobody"]}, title="Hello")
            with pytest.raises(Unreachable, match="127.0.0.1:9.*Check the URL"):
                next(client.listen(token="any"))

    def test_stranger(self, service: Service) -> None:
        """An HTML page is not taken for an answer of the service."""
        with (
            Middle(service.port, lambda *_: PAGE) as middle,
            NotifierClient(middle.url, api_key=API_KEY) as client,
            pytest.raises(NotNotifier, match="text/html"),
        ):
            client.publish(to={"users": ["nobody"]}, title="Hello")

    def test_too_new(self, service: Service) -> None:
        """A service with a later major version is rejected."""
        with (
            Middle(service.port, lambda _, reply: reply.with_header("Notifier-Version", "7.0.0")) as middle,
            NotifierClient(middle.url, api_key=API_KEY) as client,
            pytest.raises(TooNew, match="7.0.0"),
        ):
            client.status()

    def test_dropped_upgrade(self, service: Service) -> None:
        """A proxy that drops the upgrade is reported."""
        with (
            Middle(service.port) as middle,
            NotifierClient(middle.url, token=service.token("alice")) as client,
            pytest.raises((ProblemError, NotNotifier), match="426|does not forward the upgrade"),
        ):
            next(client.listen())


class TestListen:
    """Listening."""

    def test_since(self, service: Service, client: NotifierClient, user: str) -> None:
        """With `since`, missed notifications come first, once each, marked as replayed."""
        with client.listen(token=service.token(user)) as stream:
            client.publish(to={"users": [user]}, type="test", data=1)
            next(stream)
            position = stream.position
        client.publish(to={"users": [user]}, type="test", data=2)
        with client.listen(since=position, token=service.token(user)) as stream:
            event = next(stream)
            assert isinstance(event, Received) and event.replay
            assert event.notification["data"] == 2

    def test_topics(self, service: Service, client: NotifierClient, user: str) -> None:
        """A stream receives the topics that the token grants; other topics are an error."""
        token = service.token(user, [f"{user}:*"])
        with client.listen([f"{user}:a"], token=token) as stream:
            client.publish(to={"topics": [f"{user}:a"]}, title="Hello")
            event = next(stream)
            assert isinstance(event, Received) and event.channel == f"topic:{user}:a"
        with pytest.raises(ProblemError, match="forbidden"), client.listen(["other"], token=token) as stream:
            next(stream)

    def test_lost(self, client: NotifierClient, service: Service, user: str) -> None:
        """A cursor that the history no longer covers is answered with a loss."""
        event = next(client.listen(since="1-0", token=service.token(user)))
        assert isinstance(event, Lost) and f"user:{user}" in event.channels

    @pytest.mark.parametrize("token", ["no-token", "a.b.c"])
    def test_wrong_token(self, client: NotifierClient, token: str) -> None:
        """A wrong token is reported as a problem."""
        with pytest.raises(ProblemError) as raised:
            next(client.listen(token=token))
        assert raised.value.code == "invalid_token"

    def test_close(self, service: Service, client: NotifierClient, user: str) -> None:
        """Another thread can end the iteration."""
        with client.listen(token=service.token(user)) as stream:
            closer = threading.Timer(0.2, stream.close)
            closer.start()
            assert list(stream) == []
            closer.join()


def test_restart(user: str) -> None:
    """Over restarts of the service a stream loses nothing and yields nothing twice."""
    with (
        Service(workers=1) as service,
        NotifierClient(url_of(service), api_key=API_KEY, deadline=3 * DEADLINE) as client,
    ):
        publisher = threading.Thread(target=publish_slowly, args=(client, user, 60))
        with client.listen(token=service.token(user)) as stream:
            publisher.start()
            got = numbers(stream, 10)
            service.stop()
            service.start()
            got += numbers(stream, 59)
            publisher.join()
    assert got == list(range(60))


def publish_slowly(client: NotifierClient, user: str, count: int) -> None:
    """Publish one notification after another, with retries while the service restarts."""
    for post in numbered(user, count):
        client.publish(post)
        threading.Event().wait(0.02)


def test_fresh_tokens(user: str) -> None:
    """A stream renews its tokens before they expire, and stays connected."""
    notice = 10  # seconds that the stream has to get another token; with more, the service waits for half of its life
    with (
        Service(workers=1, expiry_notice=notice) as service,
        NotifierClient(url_of(service), api_key=API_KEY) as client,
    ):
        tokens = (service.token(user, expires_in=notice + 1) for _ in itertools.count())
        fetched = itertools.count(1)
        count = 0

        def get_token() -> str:
            nonlocal count
            count = next(fetched)
            return next(tokens)

        with client.listen(get_token=get_token) as stream:
            got: list[int] = []
            listener = threading.Thread(target=lambda: got.extend(numbers(stream, 2)))
            listener.start()
            client.publish(to={"users": [user]}, type="test", data=1)
            eventually(lambda: count >= 4)
            client.publish(to={"users": [user]}, type="test", data=2)
            listener.join(DEADLINE)
        assert got == [1, 2]


def test_low_limits(user: str) -> None:
    """Batches respect low limits of the service, and nothing is published twice."""
    with (
        Service(workers=1, max_batch_bytes=1500, max_batch_lines=110, max_notification_bytes=1000) as service,
        NotifierClient(url_of(service), api_key=API_KEY) as client,
        client.listen(token=service.token(user)) as stream,
    ):
        posts = [*numbered(user, 100), {"to": {"users": [user]}, "body": "x" * 2000}, *numbered(user, 120)[100:]]
        results = list(client.publish_many(posts))
        assert [getattr(result, "status", 201) for result in results] == [*[201] * 100, 413, *[201] * 9, *[413] * 11]
        assert numbers(stream, 108) == list(range(109))


class TestAsync:
    """The same with asyncio."""

    def test_all(self, roomy: Service, user: str) -> None:
        """The async client publishes, listens, shows and recalls."""

        async def run() -> None:
            async with AsyncNotifierClient(url_of(roomy), api_key=API_KEY) as client:
                async with client.listen(get_token=get_token) as stream:
                    one = await client.publish(to={"users": [user]}, type="test", data=0)
                    with pytest.raises(ProblemError, match="forbidden"):
                        await client.publish_as_user("other", token=roomy.token(user), body="Hello")
                    assert await client.find(one.id) == [f"user:{user}"]
                    posts = (post async for post in asynchronous(numbered(user, 1200)[1:]))
                    results = [result async for result in client.publish_many(posts)]
                    got = [await anext(stream) for _ in range(1200)]
                    assert [event.notification["data"] for event in got if isinstance(event, Received)] == [
                        *range(1200)
                    ]
                    assert len(results) == 1199
                    await client.recall(one.id)
                    assert isinstance(await anext(stream), Removed)
                    assert (await client.status())["version"] == __version__
                with pytest.raises(ProblemError):
                    await client.publish(to={"users": [user]}, titel="Hello")

        async def get_token() -> str:
            return roomy.token(user)

        asyncio.run(run())

    def test_cancelled(self, service: Service, user: str) -> None:
        """Cancelling the wait for an event loses no event."""

        async def run() -> None:
            async with AsyncNotifierClient(url_of(service), api_key=API_KEY, token=service.token(user)) as client:
                stream = client.listen()
                for _ in range(50):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(stream), 0.01)
                async with stream:
                    await client.publish(to={"users": [user]}, title="Hello")
                    assert isinstance(await asyncio.wait_for(anext(stream), DEADLINE), Received)
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)

        asyncio.run(run())


async def asynchronous(items: list[dict[str, Any]]) -> Any:
    """Yield items asynchronously."""
    for item in items:
        yield item


class TestService:
    """Answers of the service that its clients rely on."""

    @pytest.mark.parametrize("path", ["/healthz", "/v1/notifications", "/nothing", "/static/notifier.js", "/metrics"])
    def test_version(self, service: Service, path: str) -> None:
        """Every answer, also an error, has the Notifier-Version header."""
        assert service.request("GET", path).headers["Notifier-Version"] == __version__

    def test_version_of_publication(self, service: Service, user: str) -> None:
        """The answer to a publication has the header."""
        answer = service.publish({"to": {"users": [user]}, "title": "Hello"})
        assert (answer.status, answer.headers["Notifier-Version"]) == (201, __version__)

    def test_version_of_poll(self, service: Service, user: str) -> None:
        """An answer that is written outside Flask has the header."""
        headers = {"Authorization": f"Bearer {service.token(user)}"}
        answer = service.request("GET", "/v1/stream", headers=headers)
        assert (answer.status, answer.headers["Notifier-Version"]) == (200, __version__)

    def test_status(self, service: Service) -> None:
        """The status has the configuration of the service."""
        answer = service.request("GET", "/v1/status", headers={"Authorization": f"Bearer {API_KEY}"})
        assert answer.status == 200
        assert answer.json["version"] == __version__
        assert answer.json["workers"] == 2
        assert answer.json["redis"]["append_only"] is True
        assert answer.json["redis"]["maxmemory_policy"] == "noeviction"
        assert json.dumps(answer.json["redis"]["version"]).strip('"')[0].isdigit()

    def test_status_needs_key(self, service: Service) -> None:
        """The status needs an API key."""
        assert service.request("GET", "/v1/status").json["code"] == "invalid_api_key"
