"""Invalid inbox requests, and the problems that answer them."""

import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.inboxes import COUNTS, FUTURE, ask, do, manage, publish
from tests.kit.problems import assert_problem
from tests.kit.service import API_KEY, Answer, Service

MEMBERS_ONLY, PUBLISHER = "key-of-one-who-keeps-members", "key-of-a-publisher"
MAX_IDS, MAX_MEMBERS, MAX_MEMBERSHIPS, MAX_HISTORY = 20, 5, 2, 10


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A service with small limits, and API keys with restricted scopes."""
    keys = [
        {"id": "all", "secret": API_KEY},
        {"id": "members", "secret": MEMBERS_ONLY, "scopes": ["members"], "topics": ["project:*"]},
        {"id": "publisher", "secret": PUBLISHER, "scopes": ["publish"]},
    ]
    with Service(
        workers=1,
        api_keys=json.dumps(keys),
        max_inbox_ids=MAX_IDS,
        max_members_per_request=MAX_MEMBERS,
        max_memberships=MAX_MEMBERSHIPS,
        max_history=MAX_HISTORY,
    ) as service:
        yield service


def faults(answer: Answer, code: str = "invalid_inbox_action") -> set[tuple[str, str]]:
    return {(fault["pointer"], fault["code"]) for fault in assert_problem(answer, 422, code)["errors"]}


def backend(service: Service, method: str, path: str, body: Any = None, key: str = API_KEY) -> Answer:
    return service.request(method, path, body, {"Authorization": f"Bearer {key}"})


class TestIds:
    @pytest.mark.parametrize("by", ["http", "websocket", "post"])
    def test_of_others(self, strict: Service, user: str, by: str) -> None:
        """Ids of other users are answered like unknown ids, and remain unchanged."""
        theirs, never = publish(strict, f"{user}-2"), str(uuid4())

        def answer(id: str) -> Any:
            if by == "http":
                return do(strict, user, "read", ids=[id])
            frame = {"type": "read", "ref": "r", "ids": [id]}
            if by == "post":
                return ask(strict, user, "POST", "/v1/stream", frame).json
            with strict.client(user) as client:
                client.send(**frame)
                return client.receive("ok", "error")

        foreign, unknown = answer(theirs), answer(never)
        assert (foreign["unknown"], unknown["unknown"]) == ([theirs], [never])
        assert foreign | {"unknown": 0} == unknown | {"unknown": 0}
        assert foreign["changed"] is False
        counts = ask(strict, f"{user}-2", "GET", COUNTS).json
        assert counts["counts"]["unread"] == ask(strict, user, "GET", COUNTS).json["counts"]["unread"] + 1

    def test_mixed(self, strict: Service, user: str) -> None:
        """The action applies to known ids and returns the others, including strings that cannot be ids."""
        own = publish(strict, user)
        wrong = ["x", "é", "../../etc", 'a"b', str(uuid4())]
        answer = do(strict, user, "read", ids=[*wrong, own, own])
        assert (answer["changed"], answer["unknown"]) == (True, wrong)

    def test_too_many(self, strict: Service, user: str) -> None:
        """Too many ids are rejected as a whole; as many as the limit are accepted."""
        own = publish(strict, user)
        for count in (MAX_IDS + 1, 10_000):
            answer = ask(strict, user, "POST", "/v1/inbox/read", {"ids": [own] * count})
            if answer.status == 413:
                assert_problem(answer, 413, "body_too_large")
            else:
                assert faults(answer) == {("/ids", "too_many")}
        with strict.client(user) as client:
            error = client.ask("read", ids=[own] * (MAX_IDS + 1))["problem"]
            assert (error["code"], error["errors"][0]["pointer"]) == ("invalid_inbox_action", "/ids")
        assert ask(strict, user, "GET", COUNTS).json["revision"] == 0
        assert do(strict, user, "read", ids=[own, *(str(uuid4()) for _ in range(MAX_IDS - 1))])["changed"] is True

    def test_ten_thousand(self, service: Service, user: str) -> None:
        """With the default settings ten thousand ids are rejected, with a JSON Pointer if the body fits."""
        answer = ask(service, user, "POST", "/v1/inbox/read", {"ids": [str(uuid4()) for _ in range(10_000)]})
        if answer.status == 413:
            assert_problem(answer, 413, "body_too_large")
        else:
            assert faults(answer) == {("/ids", "too_many")}
        few = ask(service, user, "POST", "/v1/inbox/read", {"ids": [str(uuid4()) for _ in range(1001)]})
        assert faults(few) == {("/ids", "too_many")}


class TestActions:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, ("", "required")),
            ({"ids": ["a"], "up_to": "1-0"}, ("", "required")),
            ({"ids": "a"}, ("/ids", "wrong_type")),
            ({"ids": [5]}, ("/ids/0", "wrong_type")),
            ({"ids": ["ok", "a\u0000"]}, ("/ids/1", "wrong_type")),
            ({"up_to": "now"}, ("/up_to", "invalid_cursor")),
            ({"up_to": 1763661600123}, ("/up_to", "invalid_cursor")),
            ({"up_to": "1-0", "all": True}, ("/all", "unknown_field")),
        ],
    )
    def test_wrong(self, strict: Service, user: str, body: dict[str, Any], expected: tuple[str, str]) -> None:
        """An invalid body is rejected with a JSON Pointer."""
        assert faults(ask(strict, user, "POST", "/v1/inbox/read", body)) == {expected}

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null"])
    def test_no_json(self, strict: Service, user: str, body: bytes) -> None:
        """A body that is not a JSON object is rejected."""
        assert_problem(ask(strict, user, "POST", "/v1/inbox/read", body), 400, "malformed_json")

    def test_unknown_action(self, strict: Service, user: str) -> None:
        """Other actions and other methods are rejected."""
        assert_problem(ask(strict, user, "POST", "/v1/inbox/burn", {"ids": []}), 404, "not_found")
        assert_problem(ask(strict, user, "GET", "/v1/inbox/read"), 405, "method_not_allowed")

    def test_frames(self, strict: Service, user: str) -> None:
        """An invalid frame is answered with its ref, and the connection stays open."""
        with strict.client(user) as client:
            for members, code in [
                ({}, "invalid_inbox_action"),
                ({"up_to": "now"}, "invalid_inbox_action"),
                ({"ids": 5}, "invalid_frame"),
            ]:
                assert client.ask("read", **members)["problem"]["code"] == code
            client.send("ack", ref="a", cursor="now")
            assert client.receive("error")["ref"] == "a"
            assert client.ask("read", ids=[])["type"] == "ok"

    def test_cursor_of_the_future(self, strict: Service, user: str) -> None:
        """A cursor in the future means everything up to now; later notifications are unread."""
        publish(strict, user)
        assert do(strict, user, "read", up_to="9999999999999999-9999999999999999999")["counts"]["unread"] == 0
        publish(strict, user)
        assert ask(strict, user, "GET", COUNTS).json["counts"]["unread"] == 1

    def test_the_same_at_once(self, strict: Service, user: str) -> None:
        """If devices do the same at once, one of them changes the inbox, and all get the same counts."""
        id = publish(strict, user)
        answers: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: answers.append(do(strict, user, "read", ids=[id]))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer["changed"] for answer in answers) == [False] * 7 + [True]
        assert {(answer["revision"], answer["counts"]["unread"]) for answer in answers} == {
            (1, answers[0]["counts"]["unread"])
        }

    def test_all_while_new_ones_arrive(self, strict: Service, user: str) -> None:
        """Marking a list as read does not include notifications that arrived after the list was fetched."""
        for _ in range(5):
            publish(strict, user)
        for _ in range(20):
            page = ask(strict, user, "GET", "/v1/inbox?limit=100").json
            new = publish(strict, user)
            do(strict, user, "read", up_to=page["cursor"])
            unread = ask(strict, user, "GET", "/v1/inbox?status=unread").json["items"]
            assert [item["notification"]["id"] for item in unread] == [new]

    def test_over_its_bound(self, strict: Service, user: str) -> None:
        """An inbox above its limit has the newest items; older ids are unknown."""
        ids = [publish(strict, user) for _ in range(MAX_HISTORY + 5)]
        listed = ask(strict, user, "GET", "/v1/inbox?limit=100").json
        assert [item["notification"]["id"] for item in listed["items"]] == ids[:4:-1]
        assert listed["counts"]["unread"] == MAX_HISTORY
        assert do(strict, user, "read", ids=ids[:6])["unknown"] == ids[:5]


class TestList:
    @pytest.mark.parametrize(
        "query",
        ["status=new", "limit=0", "limit=101", "limit=x", "before=1-0", "before=~all", "before=x~all", "severity=bad"],
    )
    def test_wrong(self, strict: Service, user: str, query: str) -> None:
        """An invalid parameter is named."""
        problem = assert_problem(ask(strict, user, "GET", f"/v1/inbox?{query}"), 400, "bad_request")
        assert problem["detail"].startswith(query.partition("=")[0])

    def test_cursor_from_elsewhere(self, strict: Service, user: str) -> None:
        """A cursor of another user's list works as a time in the own list and reveals nothing."""
        for _ in range(3):
            publish(strict, f"{user}-2")
        place = ask(strict, f"{user}-2", "GET", "/v1/inbox?limit=1").json["next"]
        mine = publish(strict, user)
        assert ask(strict, user, "GET", f"/v1/inbox?before={place}").json["items"] == []
        later = ask(strict, user, "GET", f"/v1/inbox?before={FUTURE}~all").json["items"]
        assert [item["notification"]["id"] for item in later] == [mine]

    @pytest.mark.parametrize("path", ["/v1/inbox", COUNTS, "/v1/inbox/mutes"])
    def test_who(self, strict: Service, path: str) -> None:
        """An inbox needs a user's token; an API key is not accepted."""
        assert_problem(strict.request("GET", path), 401, "invalid_token")
        assert_problem(backend(strict, "GET", path), 401, "invalid_token")


class TestMutes:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"types": "a"}, ("/types", "wrong_type")),
            ({"topics": ["a*"]}, ("/topics/0", "invalid_name")),
            ({"types": [f"t{number}" for number in range(101)]}, ("", "too_many")),
            ({"channels": []}, ("/channels", "unknown_field")),
        ],
    )
    def test_wrong(self, strict: Service, user: str, body: dict[str, Any], expected: tuple[str, str]) -> None:
        """Invalid mutes are rejected, and the previous ones remain."""
        ask(strict, user, "PUT", "/v1/inbox/mutes", {"types": ["kept"]})
        assert faults(ask(strict, user, "PUT", "/v1/inbox/mutes", body)) == {expected}
        assert ask(strict, user, "GET", "/v1/inbox/mutes").json == {"types": ["kept"], "topics": []}


class TestBackends:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", "/v1/topics/project:1/members/alice"),
            ("DELETE", "/v1/topics/project:1/members/alice"),
            ("GET", "/v1/topics/project:1/members"),
            ("POST", "/v1/topics/project:1/members"),
            ("GET", "/v1/users/alice/export"),
            ("DELETE", "/v1/users/alice"),
            ("POST", "/v1/users/alice/disconnect"),
        ],
    )
    def test_who(self, strict: Service, method: str, path: str) -> None:
        """Members and users need an API key with the scope; a user's token is not accepted."""
        assert_problem(strict.request(method, path), 401, "invalid_api_key")
        assert_problem(ask(strict, "alice", method, path), 401, "invalid_api_key")
        assert_problem(backend(strict, method, path, key=PUBLISHER), 403, "forbidden")
        if "users" in path:
            assert_problem(backend(strict, method, path, key=MEMBERS_ONLY), 403, "forbidden")

    def test_topics_of_a_key(self, strict: Service, user: str) -> None:
        """An API key can change only members of its own topics."""
        assert backend(strict, "PUT", f"/v1/topics/project:1/members/{user}", key=MEMBERS_ONLY).status == 204
        assert_problem(backend(strict, "PUT", f"/v1/topics/orders/members/{user}", key=MEMBERS_ONLY), 403, "forbidden")

    @pytest.mark.parametrize("name", ["a%20b", "a%7Bb", "x" * 129, "a%09b"])
    def test_names(self, strict: Service, name: str) -> None:
        """Invalid names of users and topics are rejected."""
        assert_problem(backend(strict, "PUT", f"/v1/topics/t/members/{name}"), 400, "bad_request")
        assert_problem(backend(strict, "PUT", f"/v1/topics/{name}/members/alice"), 400, "bad_request")
        assert_problem(backend(strict, "DELETE", f"/v1/users/{name}"), 400, "bad_request")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, ("", "required")),
            ({"add": "alice"}, ("/add", "wrong_type")),
            ({"add": ["a", 5]}, ("/add/1", "invalid_name")),
            ({"remove": ["a b"]}, ("/remove/0", "invalid_name")),
            ({"add": [f"u{number}" for number in range(MAX_MEMBERS + 1)]}, ("", "too_many")),
            ({"add": ["a", "b", "c"], "remove": ["d", "e", "f"]}, ("", "too_many")),
            ({"users": []}, ("/users", "unknown_field")),
        ],
    )
    def test_members(self, strict: Service, body: dict[str, Any], expected: tuple[str, str]) -> None:
        """An invalid membership change is rejected as a whole."""
        answer = backend(strict, "POST", "/v1/topics/bad/members", body)
        assert expected in faults(answer, "invalid_members")
        assert manage(strict, "GET", "/v1/topics/bad/members").json == {"members": [], "next": None}

    def test_too_many_memberships(self, strict: Service, user: str) -> None:
        """A user with too many memberships is rejected by name; the others are added."""
        for topic in range(MAX_MEMBERSHIPS):
            manage(strict, "PUT", f"/v1/topics/{user}-{topic}/members/{user}")
        answer = backend(strict, "PUT", f"/v1/topics/{user}-x/members/{user}")
        assert_problem(answer, 422, "too_many_memberships")
        bulk = manage(strict, "POST", f"/v1/topics/{user}-x/members", {"add": [user, f"{user}-2"]}).json
        assert (bulk["added"], bulk["refused"]) == (1, [user])

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x"])
    def test_limits(self, strict: Service, query: str) -> None:
        """An invalid limit of a list of members is rejected."""
        assert_problem(backend(strict, "GET", f"/v1/topics/t/members?{query}"), 400, "bad_request")

    def test_nobody(self, strict: Service, user: str) -> None:
        """Exporting and erasing an unknown user succeed."""
        everybody = {item["channel"] for item in manage(strict, "GET", f"/v1/users/{user}/export").json["inbox"]}
        assert everybody <= {"all"}
        assert backend(strict, "DELETE", f"/v1/users/{user}").status == 204
        assert backend(strict, "DELETE", f"/v1/topics/t/members/{user}").status == 204
        assert backend(strict, "POST", f"/v1/users/{user}/disconnect").status == 202

    @pytest.mark.parametrize("query", ["dry_run=yes", "dry_run=explain&x=1", "x=1"])
    def test_dry_run(self, strict: Service, user: str, query: str) -> None:
        """An unknown query parameter is rejected, and nothing is published."""
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        note = {"to": {"users": [user]}, "title": "x"}
        answer = strict.request("POST", f"/v1/notifications?{query}", note, headers)
        assert_problem(answer, 400, "bad_request")
        listed = ask(strict, user, "GET", "/v1/inbox").json["items"]
        assert not [item for item in listed if item["channel"] == f"user:{user}"]
