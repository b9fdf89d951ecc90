"""The command line for inboxes, members and users, with a real service."""

import json
from pathlib import Path
from typing import Any

import pytest

from notifier.client import NotifierClient
from tests.kit.command import Command, end
from tests.kit.middle import Middle, Reply
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture
def notifier(service: Service, user: str, tmp_path: Path) -> Command:
    """The command, for that service and with the token of a user."""
    return Command.of(service, tmp_path, NOTIFIER_TOKEN=service.token(user))


def publish(service: Service, user: str, **members: Any) -> str:
    """Publish to a user, and return the id."""
    return str(service.publish({"to": {"users": [user]}, "title": "Hello"} | members).json["id"])


@pytest.mark.parametrize(
    "words",
    [
        ["inbox"],
        *(["inbox", command] for command in ("list", "counts", "mutes", "mute", "unmute")),
        *(["inbox", action] for action in ("seen", "read", "unread", "archive", "unarchive")),
        ["members"],
        *(["members", command] for command in ("list", "add", "remove")),
        ["user"],
        *(["user", command] for command in ("export", "erase", "disconnect")),
        ["show"],
    ],
    ids=" ".join,
)
def test_help(tmp_path: Path, words: list[str]) -> None:
    """Every command has a help text."""
    done = Command(tmp_path).run(*words, "--help")
    assert (done.code, done.words) == (0, "")
    assert len(done.lines) > 4


class TestInbox:
    """`notifier inbox`."""

    def test_list(self, notifier: Command, service: Service, user: str) -> None:
        """Each item is one line with its id and its state, newest first, without control characters."""
        first = publish(service, user, title="On\n\x1b[2Jits way", severity="success")
        second = publish(service, user, title="Second")
        notifier.run("inbox", "seen", first)
        newest, oldest = notifier.run("inbox", "list").lines
        assert newest.startswith(f"{second}  new       ")
        assert oldest.startswith(f"{first}  seen      ")
        assert oldest.endswith(f"  user:{user}  success  On  [2Jits way")

    def test_json(self, notifier: Command, service: Service, user: str) -> None:
        """With --json each item is an object."""
        id = publish(service, user)
        [line] = notifier.run("inbox", "list", "--json").lines
        item = json.loads(line)
        assert (item["id"], item["channel"], item["read"], item["notification"]["title"]) == (
            id,
            f"user:{user}",
            False,
            "Hello",
        )

    def test_limit(self, notifier: Command, service: Service, user: str) -> None:
        """--limit limits the printed items and reports whether there are more; --all prints all."""
        published = [publish(service, user) for _ in range(22)]
        for words, count, said in (([], 20, True), (["--limit", "3"], 3, True), (["--limit", "22"], 22, False)):
            done = notifier.run("inbox", "list", *words)
            assert (len(done.lines), "There are more" in done.words) == (count, said)
        done = notifier.run("inbox", "list", "--all")
        assert [line.split()[0] for line in done.lines] == published[::-1]
        assert done.words == ""

    def test_filters(self, notifier: Command, service: Service, user: str) -> None:
        """Filters select the items to print."""
        one, other = publish(service, user, type="a"), publish(service, user, type="b", severity="error")
        notifier.run("inbox", "archive", one)
        for words, found in (
            (["--status", "archived"], [one]),
            (["--status", "unread"], [other]),
            (["--type", "a", "--type", "b"], [other]),
            (["--severity", "error"], [other]),
            (["--topic", "orders"], []),
        ):
            assert [line.split()[0] for line in notifier.run("inbox", "list", *words).lines] == found

    def test_actions(self, notifier: Command, service: Service, user: str) -> None:
        """Each action prints the new counts."""
        one, other = publish(service, user), publish(service, user)
        assert notifier.run("inbox", "counts").out == "2 unread, 2 unseen\n"
        for words, said in (
            (["seen", one], "2 unread, 1 unseen"),
            (["read", one, other], "0 unread, 0 unseen"),
            (["unread", other], "1 unread, 0 unseen"),
            (["archive", other], "0 unread, 0 unseen"),
            (["unarchive", other], "0 unread, 0 unseen"),
        ):
            done = notifier.run("inbox", *words)
            assert (done.code, done.out, done.words) == (0, f"{said}\n", "")
        counts = json.loads(notifier.run("inbox", "counts", "--json").out)
        assert (counts["unread"], counts["unseen"], counts["expires_at"]) == (0, 0, None)
        assert counts["revision"] > 0

    def test_everything(self, notifier: Command, service: Service, user: str) -> None:
        """An action can apply to all items, or all up to a cursor."""
        publish(service, user)
        cursor = json.loads(notifier.run("inbox", "list", "--json").out)["cursor"]
        publish(service, user)
        assert notifier.run("inbox", "read", "--up-to", cursor).out == "1 unread, 1 unseen\n"
        done = json.loads(notifier.run("inbox", "read", "--all", "--json").out)
        assert (done["unread"], done["changed"], done["unknown"]) == (0, True, [])

    def test_unknown(self, notifier: Command, service: Service, user: str) -> None:
        """An unknown id is named; the action applies to the others."""
        id = publish(service, user)
        done = notifier.run("inbox", "read", id, "nothing")
        assert (done.code, done.out) == (1, "0 unread, 0 unseen\n")
        assert done.words == "notifier: Not in this inbox: nothing\n"

    def test_mutes(self, notifier: Command) -> None:
        """A mute is added to the existing ones."""
        assert notifier.run("inbox", "mutes").out == ""
        assert notifier.run("inbox", "mute", "--type", "a", "--topic", "orders").lines == ["type a", "topic orders"]
        assert notifier.run("inbox", "mute", "--type", "b").lines == ["type a", "type b", "topic orders"]
        done = notifier.run("inbox", "unmute", "--type", "a", "--topic", "unknown", "--json")
        assert json.loads(done.out) == {"types": ["b"], "topics": ["orders"]}
        assert notifier.run("inbox", "mutes").lines == ["type b", "topic orders"]

    @pytest.mark.parametrize(
        "words, code, said",
        [
            (["read"], 2, "IDs, --up-to CURSOR or --all"),
            (["read", "x", "--all"], 2, "one of these"),
            (["read", "--up-to", "yesterday"], 4, "/up_to: A cursor is"),
            (["mute"], 2, "--type or --topic"),
            (["unmute"], 2, "--type or --topic"),
            (["list", "--status", "new"], 2, "--status"),
            (["list", "--severity", "loud"], 4, "severity must be one of"),
            (["list", "--limit", "0"], 2, "--limit"),
            (["list", "--type", b"\xff"], 2, "not valid Unicode"),
        ],
    )
    def test_wrong_usage(self, notifier: Command, words: list[str], code: int, said: str) -> None:
        """Wrong usage is reported, and nothing is printed."""
        done = notifier.run("inbox", *words)
        assert (done.code, done.out) == (code, "")
        assert said in done.words

    @pytest.mark.parametrize("token, code, said", [("", 2, "NOTIFIER_TOKEN"), ("nk_x", 2, "API key"), ("x", 4, "401")])
    def test_wrong_token(self, notifier: Command, token: str, code: int, said: str) -> None:
        """The inbox needs a user's token."""
        done = notifier.run("inbox", "counts", NOTIFIER_TOKEN=token)
        assert (done.code, done.out) == (code, "")
        assert said in done.words


@pytest.mark.parametrize(
    "words",
    [["inbox", "counts"], ["members", "list", "orders"], ["user", "export", "alice"], ["send", "--all", "--explain"]],
    ids=" ".join,
)
def test_older_service(notifier: Command, service: Service, words: list[str]) -> None:
    """A service that is too old for the command is reported."""

    def older(number: int, reply: Reply) -> Reply:
        if number == 2:  # asks whether the path of the URL is right
            return reply
        return reply._replace(status=404, body=b'{"status": 404, "code": "not_found", "title": "Not found."}')

    with Middle(service.port, older) as middle:
        done = notifier.run(*words, NOTIFIER_URL=middle.url)
    assert (done.code, done.out) == (5, "")
    assert "Update the service." in done.words


class TestMembers:
    """`notifier members`."""

    def test_members(self, notifier: Command, user: str) -> None:
        """Members are added, removed and listed, one per line."""
        assert notifier.run("members", "add", user, "alice", "bob").out == "2 added\n"
        done = notifier.run("members", "add", user, "bob", "-", "--json", stdin=b"carl\n\ndora\r\n")
        assert json.loads(done.out) == {"added": 2, "removed": 0, "refused": []}
        assert notifier.run("members", "remove", user, "alice", "nobody").out == "1 removed\n"
        assert notifier.run("members", "list", user).lines == ["bob", "carl", "dora"]

    def test_refused(self, tmp_path: Path) -> None:
        """A user with too many memberships is named."""
        with Service(workers=1, max_memberships=1) as service:
            notifier = Command.of(service, tmp_path)
            notifier.run("members", "add", "one", "alice")
            done = notifier.run("members", "add", "other", "alice", "bob")
        assert (done.code, done.out) == (4, "1 added\n")
        assert done.words == "notifier: Members of too many topics: alice\n"

    @pytest.mark.parametrize(
        "words, code, said",
        [
            (["add", "orders"], 2, "USER"),
            (["add", "orders", "{x}"], 4, "/add/0"),
            (["add", "or ders", "x"], 4, "topic: "),
            (["add", "orders", b"\xff"], 4, "malformed_json"),
            (["list", b"\xff"], 4, "topic: "),
        ],
    )
    def test_wrong_usage(self, notifier: Command, words: list[str], code: int, said: str) -> None:
        """Wrong usage is reported."""
        done = notifier.run("members", *words)
        assert (done.code, done.out) == (code, "")
        assert said in done.words


class TestUser:
    """`notifier user`."""

    def test_export(self, notifier: Command, service: Service, user: str) -> None:
        """An export is one JSON object."""
        id = publish(service, user)
        export = json.loads(notifier.run("user", "export", user).out)
        assert (export["user"], export["inbox"][0]["notification"]["id"]) == (user, id)

    def test_erase(self, notifier: Command, service: Service, user: str) -> None:
        """`erase` asks for confirmation, and without a yes erases nothing."""
        publish(service, user)
        for answer, code in ((b"n\n", 1), (b"\n", 1), (b"", 130)):
            done = notifier.run("user", "erase", user, stdin=answer)
            assert (done.code, done.out) == (code, "")
            assert f"Erase everything about {user} at http://" in done.words
        assert notifier.run("inbox", "counts").out == "1 unread, 1 unseen\n"
        done = notifier.run("user", "erase", user, stdin=b"y\n")
        assert (done.code, done.out) == (0, "")
        assert notifier.run("inbox", "counts").out == "0 unread, 0 unseen\n"

    def test_erase_at_once(self, notifier: Command, service: Service, user: str) -> None:
        """`erase --yes` does not ask."""
        publish(service, user)
        done = notifier.run("user", "erase", user, "--yes")
        assert (done.code, done.words) == (0, f"notifier: Everything about {user} is erased.\n")
        assert notifier.run("inbox", "list").out == ""

    def test_disconnect(self, notifier: Command, user: str) -> None:
        """A disconnected listener ends."""
        listening = notifier.start("listen")
        assert listening.stderr and b"Listening to" in listening.stderr.readline()
        assert notifier.run("user", "disconnect", user).code == 0
        _, words = listening.communicate(timeout=DEADLINE)
        assert listening.returncode == 4
        assert b"4502 disconnected" in words


class TestShow:
    """`notifier show`, and `notifier send --explain`."""

    def test_show(self, notifier: Command, service: Service, user: str) -> None:
        """`show` prints one line per channel, with its receipt."""
        to = {"users": [user], "topics": [user]}
        id = publish(service, user, to=to)
        notifier.run("inbox", "read", id)
        own, topic = notifier.run("show", id).lines
        assert own.startswith(f"user:{user}  stored 20") and own.endswith("  archived -")
        assert "  read 20" in own
        assert topic.startswith(f"topic:{user}  stored 20") and topic.endswith("  read 0  archived 0")
        receipt = json.loads(notifier.run("show", id, "--json").lines[0])
        assert (receipt["channel"], receipt["archived_at"]) == (f"user:{user}", None)

    def test_delivered(self, notifier: Command, service: Service, user: str) -> None:
        """A notification that `notifier listen` has printed counts as delivered."""
        listening = notifier.start("listen", "--count", "1")
        assert listening.stderr and listening.stderr.readline()
        id = publish(service, user)
        listening.communicate(timeout=DEADLINE)
        eventually(lambda: json.loads(notifier.run("show", id, "--json").out)["delivered_at"])

    def test_unknown(self, notifier: Command) -> None:
        """An unknown notification is reported."""
        done = notifier.run("show", "nothing")
        assert (done.code, done.out) == (4, "")
        assert "404 not_found" in done.words

    def test_explain(self, notifier: Command, service: Service, user: str) -> None:
        """Each recipient is one line with the outcome and its reason; members follow their topic."""
        notifier.run("members", "add", user, user, f"{user}-2")
        notifier.run("inbox", "mute", "--topic", user)
        words = ("send", "--user", user, "--topic", user, "--title", "Hello", "--explain")
        assert notifier.run(*words).lines == [
            f"user:{user}  stored  offline",
            f"topic:{user}  stored  offline  2 members",
            f"  {user}  stored  muted_topic",
            f"  {user}-2  stored  offline",
        ]
        own, topic = map(json.loads, notifier.run(*words, "--json").lines)
        assert (own["reason"], topic["members"][0]["reason"]) == ("offline", "muted_topic")
        assert notifier.run("inbox", "counts").out == "0 unread, 0 unseen\n"

    def test_explain_wrongly(self, notifier: Command, user: str) -> None:
        """--explain takes one notification and reports its faults."""
        done = notifier.run("send", "-", "--explain", stdin=b'{"to": {"all": true}, "title": "Hello"}\n')
        assert (done.code, done.out) == (2, "")
        assert "--explain takes one notification" in done.words
        done = notifier.run("send", "--user", user, "--severity", "loud", "--title", "Hello", "--explain")
        assert (done.code, done.out) == (4, "")
        assert "/severity" in done.words

    def test_suppressed(self, notifier: Command, user: str) -> None:
        """The answer has the reason why a notification is not pushed."""
        notifier.run("inbox", "mute", "--type", "a")
        [channel] = json.loads(notifier.run("send", "--user", user, "--type", "a", "--json").out)["channels"]
        assert channel["suppressed"] == "muted_type"


class TestListen:
    """`notifier listen --inbox`."""

    def test_json(self, notifier: Command, service: Service, user: str) -> None:
        """With --json the inbox state is printed at the start and after each change."""
        listening = notifier.start("listen", "--inbox", "--json")
        assert listening.stdout and listening.stderr and listening.stderr.readline()
        first = json.loads(listening.stdout.readline())
        assert (first["type"], first["unread"], first["reload"], first["changes"]) == ("state", 0, True, [])
        id = publish(service, user)
        lines = [json.loads(listening.stdout.readline()) for _ in range(2)]
        assert {line["type"] for line in lines} == {"received", "state"}
        with NotifierClient(f"http://127.0.0.1:{service.port}", token=service.token(user)) as client:
            client.inbox().read(id)
        read = json.loads(listening.stdout.readline())
        assert (read["unread"], read["reload"]) == (0, False)
        assert [(change["action"], change["ids"]) for change in read["changes"]] == [("read", [id])]
        end(listening)

    def test_lines(self, notifier: Command, service: Service, user: str) -> None:
        """Without --json the inbox state is one line."""
        publish(service, user)
        listening = notifier.start("listen", "--inbox")
        assert listening.stdout and listening.stdout.readline() == b"inbox 1 unread, 1 unseen\n"
        end(listening)


def test_capitals(notifier: Command, service: Service, user: str) -> None:
    """An id in capitals is the same id (RFC 9562), for the service and the commands."""
    id = publish(service, user)
    path, backend = f"/v1/notifications/{id.upper()}", {"Authorization": f"Bearer {API_KEY}"}
    with service.client(user) as client:
        assert client.ask("read", ids=[id.upper()])["changed"]
    [receipt] = service.request("GET", path, headers=backend).json["receipts"]
    assert receipt["read_at"]
    assert notifier.run("show", id.upper()) == notifier.run("show", id)
    assert service.recall(id.upper()).status == 204
    assert [service.request("GET", path, headers=backend).status, service.recall(id).status] == [404, 404]
