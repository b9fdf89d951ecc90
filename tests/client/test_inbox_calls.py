"""The rules of an inbox's calls: what is asked, and what is made of the answers."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from notifier.client import ConfigurationError, Counts, Item, Marked, Mutes, NotNotifier, ProblemError, TooOld
from notifier.client.calls import Calls, Pause
from notifier.client.inbox_calls import InboxCalls
from tests.kit.cases import rows
from tests.kit.play import URL, Clock, Play, html, problem, reason, refused, reply

COUNTS = {"counts": {"unread": 3, "unseen": 1}, "revision": 17, "expires_at": "2026-11-21T08:00:00.000Z"}
STANDING = Counts(3, 1, 17, datetime(2026, 11, 21, 8, tzinfo=UTC))
ITEM = {
    "cursor": "5-1",
    "channel": "user:alice",
    "notification": {"id": "n-1", "title": "Hello"},
    "seen": True,
    "read": False,
    "archived": False,
    "muted": False,
}


def inbox() -> InboxCalls:
    """Return the calls of a user who has no API key."""
    return InboxCalls(Calls(URL, None, clock=Clock(), random=lambda: 1.0), "the-token")


def page(**options: Any) -> Play[Any]:
    """Play the call for a page."""
    return Play(inbox().page(20, None, None, **options))


def query(play: Play[Any]) -> dict[str, list[str]]:
    """Return what a request asks for."""
    return parse_qs(urlsplit(play.step.request.path).query)


class TestPage:
    """Lists."""

    def test_request(self) -> None:
        """A request has the token, and its query has the filters."""
        play = Play(inbox().page(7, "5-1~user:alice", None, status="unread"))
        assert play.step.request.method == "GET"
        assert play.step.request.path.startswith("/v1/inbox?")
        assert play.step.request.headers == {"Authorization": "Bearer the-token"}
        assert query(play) == {"status": ["unread"], "limit": ["7"], "before": ["5-1~user:alice"]}

    @rows("given, asked", [((), None), ("a&b", ["a&b"]), (["a", "b"], ["a", "b"]), (iter("ab"), ["a", "b"])])
    def test_filters(self, given: Any, asked: list[str] | None) -> None:
        """A filter is one name, or several."""
        for name in ("type", "topic", "severity"):
            assert query(page(**{name: given})).get(name) == asked
            given = asked or ()

    def test_answer(self) -> None:
        """The answer is returned as items with their flags, and the counts of the inbox."""
        play = page()
        play.answer(reply(200, {"items": [ITEM], "next": "5-1~user:alice", "cursor": "9-0"} | COUNTS))
        [item] = play.result.items
        assert item == Item("n-1", "user:alice", "5-1", ITEM["notification"], True, False, False, False)  # type: ignore[arg-type]
        assert (play.result.next, play.result.cursor, play.result.counts) == ("5-1~user:alice", "9-0", STANDING)

    def test_long_number(self) -> None:
        """A number with more digits than Python converts is read as its digits, and the rest as always."""
        play = page()
        answer = reply(200, {"items": [ITEM], "next": None, "cursor": "9-0"} | COUNTS)
        play.answer(answer._replace(body=answer.body.replace(b'"Hello"', 5000 * b"9").replace(b"title", b"data")))
        assert play.result.items[0].notification["data"] == 5000 * "9"

    def test_last(self) -> None:
        """The last page has no `next`; if nothing expires, there is no `expires_at`."""
        play = page()
        play.answer(reply(200, {"items": [], "next": None, "cursor": "9-0"} | COUNTS | {"expires_at": None}))
        assert (play.result.items, play.result.next, play.result.counts.expires_at) == ((), None, None)

    def test_misspelled(self) -> None:
        """A misspelled filter is an error, and not ignored."""
        with pytest.raises(TypeError, match="stauts"):
            page(stauts="unread")

    def test_wrong_cursor(self) -> None:
        """An invalid `before` raises the problem of the service."""
        with pytest.raises(ProblemError, match="bad_request"):
            Play(inbox().page(20, "yesterday", None)).answer(problem(400, "bad_request"))


class TestActions:
    """Actions on items."""

    @rows("action", ["seen", "read", "unread", "archive", "unarchive"])
    def test_request(self, action: Any) -> None:
        """The action is in the path, the items in the body."""
        request = Play(inbox().act(action, ["a", "b"], None, None)).step.request
        assert (request.method, request.path) == ("POST", f"/v1/inbox/{action}")
        assert request.headers == {"Authorization": "Bearer the-token", "Content-Type": "application/json"}
        assert json.loads(request.body) == {"ids": ["a", "b"]}

    @rows(
        "ids, up_to, body",
        [
            ("a", None, {"ids": ["a"]}),
            (iter("ab"), None, {"ids": ["a", "b"]}),
            ([], None, {"ids": []}),
            (None, "5-1", {"up_to": "5-1"}),
            ("a", "5-1", {"ids": ["a"], "up_to": "5-1"}),
            (None, None, {}),
        ],
    )
    def test_aims(self, ids: Any, up_to: str | None, body: dict[str, Any]) -> None:
        """Ids and `up_to` are sent as they are given: the service reports what is wrong with them."""
        assert json.loads(Play(inbox().act("read", ids, up_to, None)).step.request.body) == body

    def test_answer(self) -> None:
        """The answer has the counts of the inbox, whether anything changed, and the unknown ids."""
        play = Play(inbox().act("read", ["a"], None, None))
        play.answer(reply(200, COUNTS | {"changed": False, "unknown": ["a"]}))
        assert play.result == Marked(STANDING, False, ("a",))

    def test_again(self) -> None:
        """A transient error is retried: an action that is done twice has the effect of one."""
        play = Play(inbox().act("unread", ["a"], None, None))
        first = play.step
        assert isinstance(play.answer(refused()), Pause)
        assert play.answer() == first
        assert isinstance(play.answer(problem(503, "broker_unavailable")), Pause)
        assert play.answer() == first
        play.answer(reply(200, COUNTS | {"changed": True, "unknown": []}))
        assert play.result.changed

    def test_too_many(self) -> None:
        """Too many ids are refused as a whole, with a pointer to them."""
        faults = [{"pointer": "/ids", "code": "too_many", "detail": "At most 1000 at once."}]
        document = {"status": 422, "code": "invalid_inbox_action", "title": "No.", "errors": faults}
        with pytest.raises(ProblemError) as raised:
            Play(inbox().act("read", ["a"] * 1001, None, None)).answer(reply(422, document))
        assert raised.value.pointers == ["/ids"]

    def test_no_json(self) -> None:
        """A value that cannot be an id is not sent."""
        with pytest.raises(ProblemError, match="malformed_json"):
            Play(inbox().act("read", [b"a"], None, None))  # type: ignore[list-item]


def test_counts() -> None:
    """Counts come by themselves, too."""
    play = Play(inbox().counts(None))
    assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/inbox/counts")
    play.answer(reply(200, COUNTS))
    assert play.result == STANDING


def test_mutes() -> None:
    """Mutes are read, and replaced as a whole."""
    play = Play(inbox().mutes(None))
    assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/inbox/mutes")
    play.answer(reply(200, {"types": ["a"], "topics": []}))
    assert play.result == Mutes(("a",))
    play = Play(inbox().set_mutes("a", ["x", "y"], None))
    assert (play.step.request.method, play.step.request.path) == ("PUT", "/v1/inbox/mutes")
    assert json.loads(play.step.request.body) == {"types": ["a"], "topics": ["x", "y"]}
    play.answer(reply(200, {"types": ["a"], "topics": ["x", "y"]}))
    assert play.result == Mutes(("a",), ("x", "y"))


STEPS = [
    lambda: inbox().page(20, None, None),
    lambda: inbox().counts(None),
    lambda: inbox().act("read", ["a"], None, None),
    lambda: inbox().mutes(None),
    lambda: inbox().set_mutes((), (), None),
]


@rows("steps", STEPS)
def test_older_service(steps: Any) -> None:
    """A service that has no inboxes is named in one sentence, with what to do."""
    error = reason(steps(), 405)
    assert isinstance(error, TooOld)
    assert str(error).endswith("runs Notifier 0.1.0, which has no inbox yet. Update the service.")


@rows("steps", STEPS)
def test_wrong_path(steps: Any) -> None:
    """A URL with a wrong path is no older service: nothing is found there."""
    error = reason(steps(), 404)
    assert isinstance(error, ProblemError) and error.code == "not_found"


def test_not_found_by_a_stranger() -> None:
    """A proxy's 404 is not an answer of the service."""
    with pytest.raises(NotNotifier):
        page().answer(html(404))


def test_no_token() -> None:
    """Without a token nothing is sent, and an API key is not a token."""
    from notifier.client import NotifierClient

    with pytest.raises(ConfigurationError, match="NOTIFIER_TOKEN"):
        NotifierClient(URL, token="").inbox()
    with pytest.raises(ConfigurationError, match="API key"):
        NotifierClient(URL).inbox(token="nk_secret")
