"""Tenants on one service: the same names are other users and topics in each, and none learns of another."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from notifier.client import NotifierClient, ProblemError
from notifier.protocol.api_key import SCOPES
from tests.kit.issuers import SigningKey
from tests.kit.problems import assert_problem
from tests.kit.service import API_KEY, JSON, NDJSON, Answer, Client, Service
from tests.kit.waiting import eventually, next_millisecond

SEPARATOR = "\x1f"


class Tenant:
    """A tenant, as its backend and its users see the service. Without a name it is the default one."""

    def __init__(self, service: Service, admin: NotifierClient, name: str | None) -> None:
        self.service = service
        self.name = name
        self.key = admin.create_key("Tenant", SCOPES, tenant=name).text if name else API_KEY
        self.backend = NotifierClient(f"http://127.0.0.1:{service.port}", api_key=self.key)

    def token(self, user: str, **grants: Any) -> str:
        """Return a token for a user of the tenant."""
        return self.backend.create_token(user, **grants)

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request of the backend. Nothing of it may show how the service names users and topics inside."""
        kind = NDJSON if isinstance(body, list) else JSON
        headers = {"Authorization": f"Bearer {self.key}"} | ({} if body is None else {"Content-Type": kind})
        return checked(self.service.request(method, path, body, headers))

    def as_user(self, user: str, method: str, path: str, body: Any = None) -> Answer:
        """Send a request of a user."""
        headers = {"Authorization": f"Bearer {self.token(user)}", "Content-Type": JSON}
        return checked(self.service.request(method, path, body, headers))

    def connect(self, user: str, topics: tuple[str, ...] = (), **options: Any) -> Client:
        """Open a stream of a user."""
        token = self.token(user, topics=topics, publish=topics)
        return self.service.client(token=token, topics=topics, **options)


def checked(answer: Answer) -> Answer:
    assert SEPARATOR not in answer.text and "\\u001f" not in answer.text.lower(), answer.text
    return answer


@pytest.fixture(scope="module")
def tenants() -> Iterator[list[Tenant]]:
    """The default tenant and two others, in a service of their own: what they publish to all is in every inbox."""
    with Service() as service, NotifierClient(f"http://127.0.0.1:{service.port}", api_key=API_KEY) as admin:
        names = [None, *(f"t-{uuid4().hex[:8]}" for _ in range(2))]
        made = [Tenant(service, admin, name) for name in names]
        yield made
        for tenant in made:
            tenant.backend.close()


def received(client: Client) -> dict[str, Any]:
    """Return the next notification of a stream."""
    frame = client.receive("notification")
    assert SEPARATOR not in json.dumps(frame, ensure_ascii=False)
    return frame


def published(client: Client, topic: str, **notification: object) -> dict[str, Any]:
    """Publish to a topic of the client, and return what it receives. The answer may come before it or after it."""
    client.send("publish", topic=topic, notification=notification)
    frames = [client.receive("ok", "error", "notification") for _ in range(2)]
    assert {frame["type"] for frame in frames} == {"ok", "notification"}, frames
    assert SEPARATOR not in json.dumps(frames, ensure_ascii=False)
    return next(frame for frame in frames if frame["type"] == "notification")


def test_streams(tenants: list[Tenant], user: str) -> None:
    """A notification of a tenant reaches only its own users: by user, by topic, and to all."""
    topic = f"topic-{user}"
    clients = [tenant.connect(user, (topic,)) for tenant in tenants]
    for client in clients:
        assert (client.welcome["user"], client.welcome["topics"]) == (user, [topic])
    for number, tenant in enumerate(tenants):
        for to in ({"users": [user]}, {"topics": [topic]}, {"all": True}):
            answer = tenant.ask("POST", "/v1/notifications", {"to": to, "title": str(number)})
            assert answer.status == 201
            [channel] = answer.json["channels"]
            assert channel["online"] and channel["channel"] in (f"user:{user}", f"topic:{topic}", "all")
    for number, client in enumerate(clients):
        frames = [received(client) for _ in range(3)]
        assert [frame["notification"]["title"] for frame in frames] == [str(number)] * 3
        # Notifications of different channels may arrive in any order.
        assert {frame["channel"] for frame in frames} == {f"user:{user}", f"topic:{topic}", "all"}
        client.close()


def test_resume(tenants: list[Tenant], user: str) -> None:
    """Users who were offline receive what was published in their tenant, and nothing else."""
    clients = [tenant.connect(user) for tenant in tenants]
    cursors = [client.welcome["cursor"] for client in clients]
    for client in clients:
        client.close()
    for number, tenant in enumerate(tenants):
        posts = [{"to": to, "title": f"{user} {number}"} for to in ({"users": [user]}, {"all": True})]
        assert [line["status"] for line in tenant.ask("POST", "/v1/notifications", posts).json] == [201, 201]
    for number, (tenant, cursor) in enumerate(zip(tenants, cursors, strict=True)):
        with tenant.connect(user, since=cursor) as client:
            tenant.ask("POST", "/v1/notifications", {"to": {"users": [user]}, "title": "end"})
            titles = []
            while "end" not in titles:
                titles.append(received(client)["notification"]["title"])
            # The replay begins some seconds earlier, so there may be others of the tenant.
            assert {title for title in titles if user in title} == {f"{user} {number}"}


def test_frames(tenants: list[Tenant], user: str) -> None:
    """Users subscribe, publish and leave by the names that they know."""
    first, second = tenants[1].connect(user, ("a", "b")), tenants[2].connect(user, ("a",))
    with first, second:
        frame = published(first, "a", title="Hello")
        assert (frame["channel"], frame["notification"]["sender"]) == ("topic:a", user)
        assert first.ask("unsubscribe", topic="a")["topics"] == ["b"]
        assert first.ask("subscribe", topic="a")["topics"] == ["b", "a"]
        assert first.ask("subscribe", topic="c")["problem"]["topic"] == "c"
        assert first.ask("subscribe", topic=f"{tenants[2].name}{SEPARATOR}a")["problem"]["code"] == "invalid_frame"
        refreshed = first.ask("auth", token=tenants[1].token(user, topics=["b"]))
        assert refreshed["topics"] == ["b"]
        assert first.ask("auth", token=tenants[2].token(user))["problem"]["code"] == "forbidden"
        assert published(second, "a", title="own")["notification"]["title"] == "own"


def test_members_and_inbox(tenants: list[Tenant], user: str) -> None:
    """Members, inboxes, mutes and counts are those of the tenant."""
    topic, (one, other) = f"topic-{user}", tenants[1:]
    path = f"/v1/topics/{topic}/members"
    with one.connect(user) as client:
        assert one.ask("PUT", f"{path}/{user}").status == 204
        assert client.receive("state")["memberships"] == [topic]
    assert one.ask("POST", path, {"add": ["zoe", user]}).json == {"added": 1, "removed": 0, "refused": []}
    page = one.ask("GET", f"{path}?limit=1").json
    assert page["members"] == [min(user, "zoe")]
    assert one.ask("GET", f"{path}?limit=1&after={page['next']}").json["members"] == [max(user, "zoe")]
    assert other.ask("GET", path).json["members"] == []
    for tenant in (one, other):
        for title in ("first", "second"):
            tenant.ask("POST", "/v1/notifications", {"to": {"topics": [topic], "users": [user]}, "title": title})
        tenant.ask("POST", "/v1/notifications", {"to": {"topics": [topic]}, "title": "third"})
    listed = one.as_user(user, "GET", f"/v1/inbox?limit=1&topic={topic}")
    assert [item["channel"] for item in listed.json["items"]] == [f"topic:{topic}"]
    first = one.as_user(user, "GET", "/v1/inbox?limit=1").json
    second = one.as_user(user, "GET", f"/v1/inbox?limit=1&before={first['next']}").json
    assert [item["notification"]["title"] for page in (first, second) for item in page["items"]] == ["third", "second"]
    assert first["counts"]["unread"] == second["counts"]["unread"] >= 2
    mutes = one.as_user(user, "PUT", "/v1/inbox/mutes", {"topics": [topic]}).json
    assert mutes == {"types": [], "topics": [topic]}
    assert other.as_user(user, "GET", "/v1/inbox/mutes").json == {"types": [], "topics": []}
    exported = one.ask("GET", f"/v1/users/{user}/export").json
    assert (exported["user"], exported["topics"], exported["mutes"]) == (user, [topic], mutes)
    explained = one.ask("POST", "/v1/notifications?dry_run=explain", {"to": {"topics": [topic]}, "title": "x"}).json
    assert explained["recipients"][0]["channel"] == f"topic:{topic}"
    assert {member["user"] for member in explained["recipients"][0]["members"]} == {user, "zoe"}
    assert one.as_user(user, "POST", "/v1/inbox/read", {"up_to": "9999999999999-0"}).json["counts"]["unread"] == 0
    assert other.as_user(user, "GET", "/v1/inbox/counts").json["counts"]["unread"] >= 2


def test_notifications_of_others(tenants: list[Tenant], user: str) -> None:
    """A notification of another tenant does not exist, even for an unlimited key of the default one."""
    for tenant in tenants:
        id = tenant.ask("POST", "/v1/notifications", {"to": {"users": [user], "all": True}, "title": "x"}).json["id"]
        for other in tenants:
            if other is not tenant:
                assert_problem(other.ask("GET", f"/v1/notifications/{id}"), 404, "not_found")
                assert_problem(other.ask("DELETE", f"/v1/notifications/{id}"), 404, "not_found")
        shown = tenant.ask("GET", f"/v1/notifications/{id}").json
        assert shown["channels"] == [f"user:{user}", "all"]
        assert [receipt["channel"] for receipt in shown["receipts"]] == shown["channels"]
        with tenant.connect(user) as client:
            assert tenant.ask("DELETE", f"/v1/notifications/{id}").status == 204
            assert client.receive("removed")["id"] == id


def test_users(tenants: list[Tenant], user: str) -> None:
    """A disconnection, a revocation and an erasure are of the tenant's own user."""
    one, other = tenants[1:]
    for tenant in (one, other):
        tenant.ask("POST", "/v1/notifications", {"to": {"users": [user]}, "title": "kept"})
    with other.connect(user) as bystander:
        with one.connect(user) as client:
            one.ask("POST", f"/v1/users/{user}/disconnect")
            assert client.close_code() == 4502
        token = one.token(user)
        with one.service.client(token=token) as client:
            next_millisecond()  # a token of the current one is not issued before the revocation
            one.ask("POST", "/v1/tokens/revoke", {"user": user})
            assert client.close_code() == 4001
        assert one.ask("DELETE", f"/v1/users/{user}").status == 204
        assert bystander.ask("subscribe", topic="x")["problem"]["code"] == "forbidden", "it is still open"
    assert len(other.as_user(user, "GET", "/v1/inbox").json["items"]) >= 1
    minted, last = (other.ask("POST", "/v1/tokens", {"user": user}).json for _ in range(2))
    for tenant, token in ((tenants[0], minted), (one, minted), (other, last)):
        tenant.ask("POST", "/v1/tokens/revoke", {"jti": token["jti"]})
    eventually(lambda: _statuses(other, last) == {401})  # each worker has learned the revocations before it, too
    assert _statuses(other, minted) == {200}
    other.ask("POST", "/v1/tokens/revoke", {"jti": minted["jti"]})
    eventually(lambda: _statuses(other, minted) == {401})


def _statuses(tenant: Tenant, minted: dict[str, Any]) -> set[int]:
    """Return how all workers answer requests with a token."""
    service, headers = tenant.service, {"Authorization": f"Bearer {minted['token']}"}
    answers = service.from_each_worker(lambda: service.request("GET", "/v1/inbox/counts", headers=headers))
    return {answer.status for answer in answers}


def test_keys_and_audit(tenants: list[Tenant], user: str) -> None:
    """An operator of a tenant manages its keys and reads its audit log; the operator of the service all of them."""
    root, one, other = tenants
    made = one.backend.create_key(user, "publish")
    assert made.key.tenant == one.name
    with pytest.raises(ProblemError, match="forbidden"):
        one.backend.create_key(user, "publish", tenant=other.name)
    assert {key.tenant for key in one.backend.api_keys()} == {one.name}
    assert {None, one.name, other.name} <= {key.tenant for key in root.backend.api_keys()}
    with pytest.raises(ProblemError, match="not_found"):
        other.backend.revoke_key(made.key.id)
    other.backend.disconnect_user(user)
    assert [entry.action for entry in one.backend.audit() if user in str(entry.target)] == ["key.created"]
    for backend, options in ((other.backend, {}), (root.backend, {"tenant": other.name})):
        entry = next(backend.audit(**options))
        assert (entry.action, entry.target) == ("user.disconnected", {"user": user})
    with pytest.raises(ProblemError, match="forbidden"):
        next(one.backend.audit(tenant=other.name))
    assert_problem(one.ask("GET", "/metrics"), 403, "forbidden")
    root.backend.revoke_key(made.key.id)


def test_settings(user: str) -> None:
    """Keys of the settings and issuers are confined to tenants, tokens of a secret name one, and quotas are of each."""
    signing = SigningKey()
    keys = [
        {"id": "tests", "secret": API_KEY},
        {"id": "staging", "secret": "key-of-the-staging-tenant", "tenant": "staging"},
        {"id": "other", "secret": "another-key-of-that-tenant", "tenant": "staging"},
    ]
    jwks = {"keys": [signing.jwk]}
    issuers = [{"issuer": "https://issuer.example", "jwks": jwks, "tenant": "staging", "audience": "x"}]
    settings = {"api_keys": json.dumps(keys), "token_issuers": json.dumps(issuers), "tenant_daily_publications": 2}
    with Service(workers=1, **settings) as service:
        claims = {"iss": "https://issuer.example", "aud": "x", "sub": user, "tenant": "production"}
        tokens = [service.token(user), service.token(user, tenant="staging"), signing.sign(claims | _times())]
        clients = [service.client(token=token) for token in tokens]
        note = {"to": {"users": [user]}, "title": "staging"}
        assert service.publish(note, key="key-of-the-staging-tenant").status == 201
        assert [received(client)["notification"]["title"] for client in clients[1:]] == ["staging"] * 2
        assert service.publish(note, key="another-key-of-that-tenant").status == 201
        answer = service.publish(note, key="key-of-the-staging-tenant")
        assert_problem(answer, 429, "quota_exceeded")
        assert answer.json["limit"] == "tenant_daily_publications"
        assert service.publish(note | {"title": "production"}).status == 201
        assert received(clients[0])["notification"]["title"] == "production"
        status = service.request("GET", "/v1/status", headers={"Authorization": "Bearer key-of-the-staging-tenant"})
        assert [issuer["issuer"] for issuer in status.json["issuers"]] == ["https://issuer.example"]
        for client in clients:
            client.close()


def _times() -> dict[str, int]:
    now = int(time.time())
    return {"iat": now, "exp": now + 300}
