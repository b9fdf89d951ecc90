"""The rules of a backend's calls about its users: what is asked, and what is made of the answers."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.client import (
    ConfigurationError,
    MembersChanged,
    NotNotifier,
    ProblemError,
    SharedReceipt,
    TooOld,
    UserReceipt,
)
from notifier.client.backend_calls import BackendCalls
from notifier.client.calls import Calls, Pause
from tests.kit.cases import rows
from tests.kit.play import URL, Clock, Play, html, problem, reason, refused, reply

HELLO = {"to": {"users": ["alice"]}, "title": "Hello"}
STORED = datetime(2026, 11, 21, 8, tzinfo=UTC)
AT = "2026-11-21T08:00:00.000Z"


def backend(api_key: str | None = "the-key") -> BackendCalls:
    """Return the calls of a backend."""
    return BackendCalls(Calls(URL, api_key, clock=Clock(), random=lambda: 1.0))


def done(status: int = 204) -> Any:
    """Return an answer without a body."""
    return reply(status)._replace(body=b"")


class TestMembers:
    """Members of topics."""

    def test_list(self) -> None:
        """A page is asked for after the last member of the one before."""
        play = Play(backend().members("a/b", None, None))
        assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/topics/a%2Fb/members?limit=1000")
        play.answer(reply(200, {"members": ["alice", "bob"], "next": "bob"}))
        assert play.result == (("alice", "bob"), "bob")
        play = Play(backend().members("orders", "b&b", None))
        assert play.step.request.path == "/v1/topics/orders/members?limit=1000&after=b%26b"

    @rows("call, method", [("add_member", "PUT"), ("remove_member", "DELETE")])
    def test_one(self, call: str, method: str) -> None:
        """One is a request without a body, whatever the names have in them."""
        play = Play(getattr(backend(), call)("orders", "a?b@c", None))
        assert (play.step.request.method, play.step.request.path) == (method, "/v1/topics/orders/members/a%3Fb%40c")
        assert (play.step.request.body, play.step.request.headers) == (b"", {"Authorization": "Bearer the-key"})
        assert play.answer(done()) is None

    def test_one_name(self) -> None:
        """A text is one name, not its letters."""
        play = Play(backend().change_members("orders", "alice", (), None))
        assert json.loads(play.step.request.body) == {"add": ["alice"]}
        play = Play(backend().change_members("orders", (), "bob", None))
        assert json.loads(play.step.request.body) == {"remove": ["bob"]}

    @rows("name", ["", ".", "..", "a\nb", "a b", "{a}", "e\u0301", "\u3164", "a" * 129, "\ud800"])
    def test_wrong_name(self, name: str) -> None:
        """An invalid name is rejected before a request is sent, as the service would reject it."""
        for steps in (
            backend().members(name, None, None),
            backend().add_member(name, "alice", None),
            backend().add_member("orders", name, None),
            backend().remove_member("orders", name, None),
            backend().change_members(name, "alice", (), None),
            backend().export_user(name, None),
            backend().erase_user(name, None),
            backend().disconnect_user(name, None),
        ):
            with pytest.raises(ProblemError) as caught:
                next(steps)
            assert (caught.value.status, caught.value.code) == (400, "bad_request")

    def test_change(self) -> None:
        """Many are changed in as many requests as that takes: first who goes, then who comes."""
        coming, leaving = [f"user-{number}" for number in range(2100)], ["bob"]
        play = Play(backend().change_members("orders", iter(coming), leaving, None))
        assert json.loads(play.step.request.body) == {"remove": ["bob"]}
        play.answer(reply(200, {"added": 0, "removed": 1, "refused": []}))
        sent = []
        for added, refused_ones in ((1000, []), (999, ["user-1999"]), (99, ["user-2001"])):
            assert (play.step.request.method, play.step.request.path) == ("POST", "/v1/topics/orders/members")
            sent += json.loads(play.step.request.body)["add"]
            play.answer(reply(200, {"added": added, "removed": 0, "refused": refused_ones}))
        assert sent == coming
        assert play.result == MembersChanged(2098, 1, ("user-1999", "user-2001"))

    def test_change_nothing(self) -> None:
        """A change of no members sends no request."""
        with pytest.raises(StopIteration) as stopped:
            next(backend().change_members("orders", [], (), None))
        assert stopped.value.value == MembersChanged()

    def test_too_many_memberships(self) -> None:
        """A user who is already a member of too many topics is a problem."""
        with pytest.raises(ProblemError, match="too_many_memberships"):
            Play(backend().add_member("orders", "alice", None)).answer(problem(422, "too_many_memberships"))


class TestUsers:
    """Everything of a user."""

    @rows(
        "call, method, path, status",
        [
            ("erase_user", "DELETE", "/v1/users/a%2Fb", 204),
            ("disconnect_user", "POST", "/v1/users/a%2Fb/disconnect", 202),
        ],
    )
    def test_without_answer(self, call: str, method: str, path: str, status: int) -> None:
        """Erasing and disconnecting return nothing, and are tried again."""
        play = Play(getattr(backend(), call)("a/b", None))
        first = play.step
        assert (first.request.method, first.request.path) == (method, path)
        assert isinstance(play.answer(refused()), Pause)
        assert play.answer() == first
        assert play.answer(done(status)) is None

    def test_export(self) -> None:
        """An export is returned as it came."""
        play = Play(backend().export_user("alice", None))
        assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/users/alice/export")
        play.answer(reply(200, {"user": "alice", "inbox": []}))
        assert play.result == {"user": "alice", "inbox": []}

    def test_forbidden(self) -> None:
        """A key without the scope is refused."""
        with pytest.raises(ProblemError, match="forbidden"):
            Play(backend().erase_user("alice", None)).answer(problem(403, "forbidden"))


class TestReceipts:
    """Receipts: the outcome of a notification."""

    def test_receipts(self) -> None:
        """Users have times, shared channels have numbers."""
        play = Play(backend().receipts("n-1", None))
        assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/notifications/n-1")
        user = {"channel": "user:alice", "stored_at": AT, "delivered_at": AT, "read_at": None, "archived_at": None}
        shared = {"channel": "all", "stored_at": AT, "delivered": 12, "read": 3, "archived": 0}
        play.answer(reply(200, {"id": "n-1", "channels": ["user:alice", "all"], "receipts": [user, shared]}))
        assert play.result == [UserReceipt("user:alice", STORED, STORED), SharedReceipt("all", STORED, 12, 3, 0)]

    def test_unknown(self) -> None:
        """A notification that is not there is a problem, and no old service."""
        with pytest.raises(ProblemError, match="not_found"):
            Play(backend().receipts("n-1", None)).answer(problem(404, "not_found"))

    def test_older_service(self) -> None:
        """An older service returns the channels, but no receipts."""
        with pytest.raises(TooOld, match="has no receipts yet"):
            Play(backend().receipts("n-1", None)).answer(reply(200, {"id": "n-1", "channels": ["all"]}))


class TestExplain:
    """Explanations: the outcome that a notification would have."""

    def test_explain(self) -> None:
        """Each recipient is explained; of a topic, its members are."""
        play = Play(backend().explain(HELLO, None))
        play.answer(problem(401, "token_required"))
        assert (play.step.request.method, play.step.request.path) == ("POST", "/v1/notifications?dry_run=explain")
        assert json.loads(play.step.request.body) == HELLO
        outcome = {"channel": "topic:orders", "online": True, "stored": True, "inbox": True, "counted": True}
        outcome |= {"pushed": True, "reason": "connected"}
        member = outcome | {"user": "alice", "counted": False, "pushed": False, "reason": "muted_topic", "later": 1}
        play.answer(reply(200, {"recipients": [outcome | {"member_count": 1, "members": [member]}]}))
        [explanation] = play.result
        assert (explanation.reason, explanation.member_count, explanation.user) == ("connected", 1, None)
        assert [(member.user, member.reason, member.members) for member in explanation.members] == [
            ("alice", "muted_topic", ())
        ]

    def test_older_service(self) -> None:
        """An older service would publish the notification, so a harmless request is sent before."""
        play = Play(backend().explain(HELLO, None))
        assert (play.step.request.method, play.step.request.path, play.step.request.headers) == (
            "GET",
            "/v1/inbox/counts",
            {},
        )
        error = reason(backend().explain(HELLO, None), 405)
        assert isinstance(error, TooOld) and "has no explanations yet" in str(error)
        assert isinstance(reason(backend().explain(HELLO, None), 404), ProblemError)

    def test_stranger(self) -> None:
        """So is a page of a proxy."""
        with pytest.raises(NotNotifier):
            Play(backend().explain(HELLO, None)).answer(html(404))

    def test_no_json(self) -> None:
        """A notification that cannot be JSON is rejected before any request is sent."""
        with pytest.raises(ProblemError, match="malformed_json"):
            Play(backend().explain(HELLO | {"data": object()}, None))


class TestTokens:
    """Tokens of users."""

    def test_create(self) -> None:
        """A token is asked for with what was given, and returned."""
        play = Play(backend().create_token("alice", ("a", "b:*"), (), None, None))
        assert (play.step.request.method, play.step.request.path) == ("POST", "/v1/tokens")
        assert json.loads(play.step.request.body) == {"user": "alice", "topics": ["a", "b:*"], "publish": []}
        play.answer(reply(201, {"token": "abc", "user": "alice", "expires": 5, "jti": "x"}))
        assert play.result == "abc"
        play = Play(backend().create_token("alice", "orders", "room", None, None))
        assert json.loads(play.step.request.body) == {"user": "alice", "topics": ["orders"], "publish": ["room"]}
        play = Play(backend().create_token("alice", (), ["c"], 60, None))
        assert json.loads(play.step.request.body)["expires_in"] == 60

    def test_revoke(self) -> None:
        """Tokens are revoked until now, until another time, or by their id."""
        for steps, asked in [
            (backend().revoke_tokens("alice", None, None), {"user": "alice"}),
            (backend().revoke_tokens("alice", 5.5, None), {"user": "alice", "issued_before": 5.5}),
            (backend().revoke_token("x", None), {"jti": "x"}),
        ]:
            play = Play(steps)
            assert (play.step.request.method, play.step.request.path) == ("POST", "/v1/tokens/revoke")
            assert json.loads(play.step.request.body) == asked
            assert isinstance(play.answer(refused()), Pause)
            play.answer()
            assert play.answer(reply(200, asked)) is None

    def test_disconnect_and_revoke(self) -> None:
        """A user is disconnected before the tokens are revoked: clients then do not reconnect."""
        play = Play(backend().disconnect_user("alice", None, revoke=True))
        assert play.step.request.path == "/v1/users/alice/disconnect"
        second = play.answer(done(202))
        assert second.request.path == "/v1/tokens/revoke"
        assert play.answer(reply(200, {"user": "alice"})) is None


PARTS = [
    (lambda: backend().members("orders", None, None), "members of topics"),
    (lambda: backend().add_member("orders", "alice", None), "members of topics"),
    (lambda: backend().change_members("orders", ["alice"], [], None), "members of topics"),
    (lambda: backend().export_user("alice", None), "calls for users"),
    (lambda: backend().erase_user("alice", None), "calls for users"),
    (lambda: backend().disconnect_user("alice", None), "calls for users"),
    (lambda: backend().create_token("alice", [], [], None, None), "tokens"),
    (lambda: backend().revoke_tokens("alice", None, None), "tokens"),
    (lambda: backend().revoke_token("id", None), "tokens"),
]


@rows(("steps", "part"), PARTS)
def test_older_service(steps: Any, part: str) -> None:
    """The error for an older service names what is missing."""
    error = reason(steps(), 405)
    assert isinstance(error, TooOld) and f"which has no {part} yet" in str(error)


@rows("steps", [steps for steps, _ in PARTS])
def test_wrong_path(steps: Any) -> None:
    """A URL with a wrong path is no older service: nothing is found there."""
    error = reason(steps(), 404)
    assert isinstance(error, ProblemError) and (error.status, error.code) == (404, "not_found")


def test_no_api_key() -> None:
    """Without an API key nothing is sent."""
    with pytest.raises(ConfigurationError, match="NOTIFIER_API_KEY"):
        Play(backend(None).erase_user("alice", None))
