"""API keys that are managed at run time, their limits, and the audit log, on two workers."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from notifier.client import AsyncNotifierClient, Key, NewKey, NotifierClient, ProblemError
from notifier.protocol.api_key import SCOPES
from tests.kit.command import Command
from tests.kit.middle import Middle, Reply
from tests.kit.problems import assert_problem
from tests.kit.processes import children
from tests.kit.service import API_KEY, Answer, Service
from tests.kit.waiting import eventually

BUT_ADMIN = [scope for scope in SCOPES if scope != "admin"]


@pytest.fixture(scope="module")
def mine() -> str:
    """The beginning of the names that a limited key grants."""
    return f"mine-{uuid4()}"


@pytest.fixture(scope="module")
def limited(admin: NotifierClient, mine: str) -> str:
    """A key with all scopes but admin, for all topics and for some users."""
    return admin.create_key("Users", BUT_ADMIN, users=f"{mine}:*").text


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def admin(service: Service) -> Iterator[NotifierClient]:
    """The client of an operator."""
    with NotifierClient(url_of(service), api_key=API_KEY) as client:
        yield client


def ask(service: Service, method: str, path: str, body: Any = None, key: str = API_KEY, **headers: str) -> Answer:
    """Send a request; a list is sent as newline-delimited JSON."""
    kind = "application/x-ndjson" if isinstance(body, list) else "application/json"
    given = {"Authorization": f"Bearer {key}"} | ({} if body is None else {"Content-Type": kind}) | headers
    return service.request(method, path, body, given)


def publish(service: Service, user: str, key: str) -> int:
    return service.publish({"to": {"users": [user]}, "title": "x"}, key=key).status


def everywhere(service: Service, user: str, key: str) -> set[int]:
    """Return the statuses of publications with a key on all workers."""
    body = {"to": {"users": [user]}, "title": "x"}
    return {answer.status for answer in service.from_each_worker(lambda: service.publish(body, key=key))}


class TestLife:
    def test_revocation(self, service: Service, admin: NotifierClient, user: str) -> None:
        """A key works on all workers as soon as it exists, and on none soon after it was revoked."""
        made = admin.create_key("Life", "publish")
        assert made.text.startswith("nk_live_") and made.text not in repr(made)
        assert everywhere(service, user, made.text) == {201}
        admin.revoke_key(made.key.id)
        eventually(lambda: everywhere(service, user, made.text) == {401})
        admin.revoke_key(made.key.id)
        answer = service.publish({"to": {"users": [user]}, "title": "x"}, key=made.text)
        assert_problem(answer, 401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_rotation(self, service: Service, admin: NotifierClient, user: str) -> None:
        """During a rotation both secrets work on all workers. A rotation without an overlap ends both."""
        made = admin.create_key("Rotation", "publish", test=True)
        assert made.text.startswith("nk_test_")
        new = admin.rotate_key(made.key.id)
        assert new.key.old_secret_until
        for text in (made.text, new.text):
            assert everywhere(service, user, text) == {201}
        with pytest.raises(ProblemError, match="key_rotating"):
            admin.rotate_key(made.key.id)
        newest = admin.rotate_key(made.key.id, overlap=0)
        for text in (made.text, new.text):
            eventually(lambda text=text: everywhere(service, user, text) == {401})
        assert everywhere(service, user, newest.text) == {201}

    def test_idempotency_keys(self, service: Service, admin: NotifierClient, user: str) -> None:
        """Both secrets of a key have the same idempotency keys, and other keys have others."""
        made, other = admin.create_key("Same", "publish"), admin.create_key("Same", "publish")
        new = admin.rotate_key(made.key.id)
        body = {"to": {"users": [user]}, "title": "once"}
        ids = [
            service.publish(body, {"Idempotency-Key": user}, key=each.text).json["id"] for each in (made, new, other)
        ]
        assert ids[0] == ids[1] != ids[2]

    def test_listed(self, service: Service, admin: NotifierClient, user: str) -> None:
        """A key is listed with everything but its secret, after those of the settings."""
        made = admin.create_key("Listed", ["publish", "recall"], topics=["a", "b:*"], users=user, expires_in=3600)
        publish(service, user, made.text)
        listed: list[Key] = []

        def is_used() -> bool:
            listed[:] = admin.api_keys()
            return any(key.id == made.key.id and key.last_used_at for key in listed)

        eventually(is_used)
        [key] = [key for key in listed if key.id == made.key.id]
        assert key._replace(last_used_at=None) == made.key
        assert (key.name, key.scopes, key.topics, key.users) == ("Listed", ("publish", "recall"), ("a", "b:*"), (user,))
        assert key.created_by == listed[0].id == "tests"
        assert (listed[0].created_at, listed[0].scopes) == (None, SCOPES)
        answer = ask(service, "GET", "/v1/keys?limit=1000")
        assert made.text not in answer.text and "digest" not in answer.text

    def test_lost_answer(self, service: Service, admin: NotifierClient, user: str) -> None:
        """If the answer is lost, the client asks again: there is one key, and the secret in use stays."""

        def lose_first(number: int, reply: Reply) -> Reply | None:
            return None if number == 0 else reply

        with Middle(service.port, lose_first) as middle, NotifierClient(middle.url, api_key=API_KEY) as client:
            made = client.create_key(user, "publish")
        assert len([key for key in admin.api_keys() if key.name == user]) == 1
        with Middle(service.port, lose_first) as middle, NotifierClient(middle.url, api_key=API_KEY) as client:
            new = client.rotate_key(made.key.id)
        assert [everywhere(service, user, each.text) for each in (made, new)] == [{201}, {201}]

    def test_asyncio(self, service: Service, user: str) -> None:
        """The client for asyncio does the same."""

        async def run() -> tuple[NewKey, list[str], list[str]]:
            async with AsyncNotifierClient(url_of(service), api_key=API_KEY) as client:
                made = await client.create_key(user, ["publish"])
                new = await client.rotate_key(made.key.id, overlap=0)
                await client.revoke_key(new.key.id)
                names = [key.name async for key in client.api_keys()]
                return new, names, [entry.action async for entry in client.audit() if user in str(entry.target)]

        new, names, actions = asyncio.run(run())
        assert user in names
        assert actions == ["key.revoked", "key.rotated", "key.created"]
        eventually(lambda: everywhere(service, user, new.text) == {401})

    def test_restart(self, user: str) -> None:
        """A service that is restarted still has the keys, as many as there may be, and knows which were revoked."""
        with Service(workers=1, max_keys=3) as service:
            with NotifierClient(url_of(service), api_key=API_KEY) as client:
                kept, revoked, rotated = (client.create_key(name, "publish") for name in "abc")
                client.revoke_key(revoked.key.id)
                new = client.rotate_key(rotated.key.id)
                client.create_key("d", "publish", expires_in=600)  # the revoked key makes room
                with pytest.raises(ProblemError, match="too_many_keys"):
                    client.create_key("e", "publish")
            service.stop()
            service.start()
            answers = [publish(service, user, each.text) for each in (kept, revoked, rotated, new)]
            assert answers == [201, 401, 201, 201]


class TestRequests:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/keys"),
            ("POST", "/v1/keys"),
            ("POST", "/v1/keys/x/rotate"),
            ("DELETE", "/v1/keys/x"),
            ("GET", "/v1/audit"),
        ],
    )
    def test_scope(self, service: Service, admin: NotifierClient, method: str, path: str) -> None:
        """All other scopes together do not suffice, and neither does a token."""
        made = admin.create_key("Scopes", BUT_ADMIN)
        assert_problem(ask(service, method, path, key=made.text), 403, "forbidden")
        assert_problem(ask(service, method, path, key=service.token()), 401, "invalid_api_key")

    @pytest.mark.parametrize("method, path", [("POST", "/v1/keys/unknown/rotate"), ("DELETE", "/v1/keys/unknown")])
    def test_unknown(self, service: Service, method: str, path: str) -> None:
        """A key that does not exist, or is in the settings, cannot be changed."""
        for known in (path, path.replace("unknown", "tests")):
            assert_problem(ask(service, method, known), 404, "not_found")

    def test_invalid(self, service: Service) -> None:
        """The error of a request is reported."""
        assert_problem(ask(service, "POST", "/v1/keys", {"name": "x"}), 422, "invalid_key_request")
        assert_problem(ask(service, "POST", "/v1/keys", "x"), 400, "malformed_json")
        assert_problem(ask(service, "POST", "/v1/keys", b" " * 300_000), 413, "body_too_large")
        made = ask(service, "POST", "/v1/keys", {"name": "x", "scopes": ["publish"]})
        assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
        path = f"/v1/keys/{made.json['id']}/rotate"
        assert_problem(ask(service, "POST", path, {"overlap": -1}), 422, "invalid_key_request")
        for query in ("limit=0", "limit=1001", "limit=x"):
            for listed in ("/v1/keys", "/v1/audit"):
                assert_problem(ask(service, "GET", f"{listed}?{query}"), 400, "bad_request")
        assert_problem(ask(service, "GET", "/v1/audit?before=x"), 400, "bad_request")

    def test_limited(self, service: Service, admin: NotifierClient, user: str) -> None:
        """A limited key with the scope admin cannot reach more by way of other keys."""
        foreign = admin.create_key("Foreign", "publish")
        limited = admin.create_key("Limited", SCOPES, topics=f"{user}:*", users=f"{user}:*")
        with NotifierClient(url_of(service), api_key=limited.text) as client:
            for grants in ({}, {"topics": f"{user}:*"}, {"topics": "*", "users": f"{user}:*"}):
                with pytest.raises(ProblemError, match="forbidden"):
                    client.create_key("More", "publish", **grants)
            made = client.create_key("Within", "publish", topics=f"{user}:a", users=f"{user}:b*")
            assert {key.id for key in client.api_keys()} == {limited.key.id, made.key.id}
            for change in (client.rotate_key, client.revoke_key):
                with pytest.raises(ProblemError, match="not_found"):
                    change(foreign.key.id)
            with pytest.raises(ProblemError, match="forbidden"):
                next(client.audit())
            client.revoke_key(made.key.id)
        assert publish(service, user, foreign.text) == 201


class TestUsers:
    """A key that is limited to some users reaches no others, in any way."""

    @pytest.mark.parametrize(
        ("method", "path", "body", "done"),
        [
            ("POST", "/v1/notifications", {"to": {"users": ["USER"]}, "title": "x"}, 201),
            ("POST", "/v1/notifications?dry_run=explain", {"to": {"users": ["USER"]}, "title": "x"}, 200),
            ("POST", "/v1/notifications", {"to": {"users": ["USER"], "topics": ["a"]}, "title": "x"}, 201),
            ("PUT", "/v1/topics/a/members/USER", None, 204),
            ("POST", "/v1/topics/a/members", {"add": ["USER"]}, 200),
            ("POST", "/v1/topics/a/members", {"remove": ["USER"]}, 200),
            ("DELETE", "/v1/topics/a/members/USER", None, 204),
            ("GET", "/v1/users/USER/export", None, 200),
            ("DELETE", "/v1/users/USER", None, 204),
            ("POST", "/v1/users/USER/disconnect", None, 202),
            ("POST", "/v1/tokens", {"user": "USER"}, 201),
            ("POST", "/v1/tokens/revoke", {"user": "USER"}, 200),
        ],
    )
    def test_requests(
        self, service: Service, limited: str, mine: str, user: str, method: str, path: str, body: Any, done: int
    ) -> None:
        """Each request that names a user is done for one that the key grants, and rejected for another."""
        for name, status in ((f"{mine}:a", done), (user, 403), (mine, 403)):
            document = body and json.loads(json.dumps(body).replace("USER", name))
            answer = ask(service, method, path.replace("USER", name), document, limited)
            assert answer.status == status, answer.text

    def test_lines(self, service: Service, limited: str, mine: str, user: str) -> None:
        """In a batch, only the lines to other users are rejected."""
        posts = [{"to": {"users": [name]}, "title": "x"} for name in (f"{mine}:a", user, f"{mine}:b")]
        posts.append({"to": {"users": [f"{mine}:a", user]}, "title": "x"})
        answers = ask(service, "POST", "/v1/notifications", posts, limited).json
        assert [answer["status"] for answer in answers] == [201, 403, 201, 403]

    def test_everyone(self, service: Service, limited: str) -> None:
        """All users are more than some, and a jti may be of any."""
        everyone = {"to": {"all": True}, "title": "x"}
        assert_problem(service.publish(everyone, key=limited), 403, "forbidden")
        assert_problem(ask(service, "POST", "/v1/tokens/revoke", {"jti": "x"}, limited), 403, "forbidden")
        id = service.publish(everyone).json["id"]
        assert_problem(service.recall(id, limited), 403, "forbidden")
        service.recall(id)

    def test_notifications_of_others(self, service: Service, limited: str, mine: str, user: str) -> None:
        """The receipts of a notification, and its recall, need a grant for all of its users."""
        for names, status in (([f"{mine}:a"], 204), ([user], 403), ([f"{mine}:a", user], 403)):
            id = service.publish({"to": {"users": names}, "title": "x"}).json["id"]
            shown = ask(service, "GET", f"/v1/notifications/{id}", key=limited)
            assert shown.status == (200 if status == 204 else 403)
            recalled = service.recall(id, limited)
            assert recalled.status == status
            assert status == 204 or user not in shown.text + recalled.text, "users that it does not grant are not named"

    def test_members(self, service: Service, limited: str, mine: str, user: str) -> None:
        """Members that the key does not grant are not named."""
        path = f"/v1/topics/{user}/members"
        ask(service, "POST", path, {"add": [f"{mine}:a", user]})
        assert ask(service, "GET", path, key=limited).json["members"] == [f"{mine}:a"]
        posted = {"to": {"topics": [user]}, "title": "x"}
        explained = ask(service, "POST", "/v1/notifications?dry_run=explain", posted, limited).json["recipients"][0]
        assert [member["user"] for member in explained["members"]] == [f"{mine}:a"]


class TestAudit:
    def test_entries(self, service: Service, admin: NotifierClient, user: str) -> None:
        """Each action has an entry: who, what, when and from where; publishing to users has none."""
        made = admin.create_key(user, SCOPES)
        began = next(admin.audit()).id
        with NotifierClient(url_of(service), api_key=made.text) as client:
            client.publish(to={"users": [user], "topics": [user]}, title="secret")
            id = client.publish({"to": {"all": True}, "title": "secret"}, idempotency_key=user).id
            client.publish({"to": {"all": True}, "title": "secret"}, idempotency_key=user)
            many = list(
                # Stored, it would be in the inboxes of the users of other tests.
                client.publish_many(
                    [{"to": {"all": True}, "title": "x", "retain": "none"}, {"to": {"users": [user]}, "title": "x"}]
                )
            )
            client.recall(id)
            client.change_members("orders", [user, *(f"{user}-{number}" for number in range(29))])
            for _ in range(2):
                client.remove_member("orders", user)  # the second one changes nothing
            client.export_user(user)
            client.disconnect_user(user, revoke=True)
            token = client.create_token(user)
            client.revoke_token("some-jti")
            client.erase_user(user)
        for entry in many:
            assert not isinstance(entry, ProblemError)
        entries = [entry for entry in admin.audit() if entry.key_id == made.key.id][::-1]
        assert [entry.action for entry in entries] == [
            "notification.broadcast",
            "notification.broadcast",
            "notification.recalled",
            "members.changed",
            "members.changed",
            "user.exported",
            "user.disconnected",
            "tokens.revoked",
            "tokens.revoked",
            "user.erased",
        ]
        assert entries[0].target == {"notification": id}
        assert entries[2].target == {"notification": id}
        assert (entries[3].target["adding"], len(entries[3].target["add"])) == (30, 10)
        assert entries[4].target == {"topic": "orders", "add": [], "remove": [user], "adding": 0, "removing": 1}
        assert entries[-1].target == {"user": user}
        assert {(entry.key_name, entry.address) for entry in entries} == {(user, "127.0.0.1")}
        assert all(abs(entry.at.timestamp() - time.time()) < 60 and entry.request_id for entry in entries)
        text = ask(service, "GET", "/v1/audit?limit=1000").text
        assert made.text not in text and token not in text and "secret" not in text
        assert began in text

    def test_pages(self, service: Service, admin: NotifierClient, user: str) -> None:
        """The newest entries come first, page by page."""
        for _ in range(3):
            admin.disconnect_user(user)
        first = ask(service, "GET", "/v1/audit?limit=2").json
        second = ask(service, "GET", f"/v1/audit?limit=2&before={first['next']}").json
        found = [entry["id"] for page in (first, second) for entry in page["entries"]]
        assert found == sorted(found, reverse=True) and len(set(found)) == 4

    def test_rejected(self, service: Service, admin: NotifierClient, user: str) -> None:
        """A request that is rejected has no entry."""
        made = admin.create_key(user, "publish")
        with NotifierClient(url_of(service), api_key=made.text) as client:
            for call in (client.erase_user, client.export_user):
                with pytest.raises(ProblemError, match="forbidden"):
                    call(user)
            with pytest.raises(ProblemError, match="forbidden"):
                client.publish(to={"all": True}, title="x")
        assert not [entry for entry in admin.audit() if entry.key_id == made.key.id]

    def test_request_id(self, service: Service, user: str) -> None:
        """The entry has the id that the request was given."""
        ask(service, "POST", f"/v1/users/{user}/disconnect", **{"X-Request-Id": user})
        assert ask(service, "GET", "/v1/audit?limit=5").json["entries"][0]["request_id"] == user


def test_command(service: Service, tmp_path: Path, user: str) -> None:
    """The command creates, lists, rotates and revokes keys, and prints the audit log."""
    notifier = Command.of(service, tmp_path)
    made = notifier.run("keys", "create", user, "--scope", "publish", "--user", f"{user}:*", "--for", "1h")
    assert (made.code, publish(service, f"{user}:a", made.out.strip())) == (0, 201)
    id = made.out.split("_")[2]
    assert id in made.words
    [line] = [line for line in notifier.run("keys", "list").lines if user in line]
    assert line.startswith(f"{id}  {user}  active until 20")
    assert f"scopes: publish  topics: *  users: {user}:*  last used: " in line
    rotated = notifier.run("keys", "rotate", id, "--overlap", "1h", "--json")
    assert rotated.code == 0 and "The old secret is accepted until" in rotated.words
    document = json.loads(rotated.out)
    assert (document["id"], publish(service, f"{user}:a", document["key"])) == (id, 201)
    assert notifier.run("keys", "rotate", id).code == 4
    assert notifier.run("keys", "revoke", id).code == 0
    assert [line for line in notifier.run("keys", "list").lines if line.startswith(f"{id}  {user}  revoked 20")]
    assert notifier.run("keys", "create", "x").code == 2
    log = notifier.run("audit", "--limit", "3").lines
    assert [line.split()[1] for line in log] == ["key.revoked", "key.rotated", "key.created"]
    assert all(id in line and "127.0.0.1" in line for line in log)
    entries = [json.loads(line) for line in notifier.run("audit", "--all", "--json").lines]
    assert entries[0]["target"] == {"key": id, "name": user}


def test_files(tmp_path: Path, user: str) -> None:
    """Keys and secrets come from files, which a reload reads again. A file that is not valid changes nothing."""
    keys, secrets = tmp_path / "keys", tmp_path / "secrets"
    keys.write_text(f"# for bootstrapping\ntests:{API_KEY}\n\n")
    secrets.write_text("the-secret-of-a-file-that-signs-tokens\n")
    keys.chmod(0o644)
    secrets.chmod(0o600)
    settings: dict[str, Any] = {"api_keys_file": keys, "token_secrets_file": secrets}
    with Service(workers=1, api_keys=None, token_secrets=None, **settings) as service:
        assert f"Every user can read {keys}" in service.log
        assert str(secrets) not in service.log
        assert publish(service, user, API_KEY) == 201
        keys.write_text(f"tests:{API_KEY}\nother:another-key-of-the-file\n")
        os.kill(service.pid, signal.SIGHUP)
        with contextlib.suppress(OSError):
            eventually(lambda: publish(service, user, "another-key-of-the-file") == 201)
        eventually(lambda: publish(service, user, "another-key-of-the-file") == 201)
        keys.write_text("short:x\n")
        workers = set(children(service.pid))
        os.kill(service.pid, signal.SIGHUP)
        eventually(lambda: "The settings stay as they were. NOTIFIER_API_KEYS_FILE" in service.log)
        eventually(lambda: workers.isdisjoint(children(service.pid)) and service.is_ready())
        assert publish(service, user, "another-key-of-the-file") == 201
        token = service.sign({"sub": user, "exp": int(time.time()) + 60}, "the-secret-of-a-file-that-signs-tokens")
        assert service.client(token=token).welcome["user"] == user
