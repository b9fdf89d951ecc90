"""The command line with a real service: its output, its messages and its exit codes."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from notifier import __version__
from notifier.client import NotifierClient, Received
from notifier.settings import Settings
from tests.kit import processes
from tests.kit.command import Command, Done, end
from tests.kit.middle import PAGE, Middle, Reply
from tests.kit.service import API_KEY, TOKEN_SECRETS, Service
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture(scope="module")
def roomy() -> Iterator[Service]:
    """A service whose history holds everything that these tests publish."""
    with Service(workers=1, max_history=10_000) as service:
        yield service


@pytest.fixture
def notifier(roomy: Service, tmp_path: Path) -> Command:
    """The command, for that service."""
    return Command.of(roomy, tmp_path)


def numbered(user: str, count: int, first: int = 0) -> bytes:
    """Return lines with consecutive numbers, which show duplicates."""
    posts = ({"to": {"users": [user]}, "type": "test", "data": number} for number in range(first, first + count))
    return b"".join(json.dumps(post).encode() + b"\n" for post in posts)


def published(service: Service, user: str) -> list[int]:
    """Return the numbers of all notifications published to a user, in order."""
    url = f"http://127.0.0.1:{service.port}"
    with NotifierClient(url, api_key=API_KEY, token=service.token(user)) as client:
        client.publish(to={"users": [user]}, type="test", data="end")
        got: list[Any] = []
        with client.listen(since="1-0") as stream:
            for event in stream:
                if isinstance(event, Received):
                    got.append(event.notification.get("data"))
                    if got[-1] == "end":
                        return [number for number in got if isinstance(number, int)]
    raise AssertionError("the stream has ended")


def test_help(tmp_path: Path) -> None:
    """Every command has a help text, and --version prints the version."""
    notifier = Command(tmp_path)
    overview = notifier.run("--help").out
    for command in ("serve", "send", "listen", "token", "keys", "audit", "doctor", "bench"):
        assert command in overview
        assert notifier.run(command, "--help").code == 0
    assert notifier.run("--version").out == f"notifier {__version__}\n"


class TestSend:
    """`notifier send`."""

    def test_one(self, notifier: Command, roomy: Service, user: str) -> None:
        """A notification made from options is delivered, and its id is printed."""
        with roomy.client(user) as listener:
            done = notifier.run("send", "--user", user, "--title", "Hello", "--data", '{"order": 1}', "--ttl", "60")
            frame = listener.receive("notification")
        assert (done.code, done.lines, done.words) == (0, [frame["notification"]["id"]], "")
        assert frame["notification"]["data"] == {"order": 1}

    def test_json(self, notifier: Command, user: str) -> None:
        """With --json it prints the answer of the service."""
        done = notifier.run("send", "--user", user, "--title", "Hello", "--json")
        assert json.loads(done.out)["channels"][0]["channel"] == f"user:{user}"

    def test_idempotency_key(self, notifier: Command, user: str) -> None:
        """A second run with the same idempotency key publishes nothing."""
        first, second = (
            notifier.run("send", "--user", user, "--title", "Hello", "--idempotency-key", user) for _ in range(2)
        )
        assert first.out == second.out

    @pytest.mark.parametrize(
        ("words", "said"),
        [(["--severity", "loud"], "/severity: One of info"), (["--ttl", "0"], "/ttl: From 1 to ")],
        ids=["severity", "ttl"],
    )
    def test_refused(self, notifier: Command, user: str, words: list[str], said: str) -> None:
        """A rejected notification is reported with the service's faults."""
        done = notifier.run("send", "--user", user, "--title", "Hello", *words)
        assert (done.code, done.out) == (4, "")
        assert said in done.words

    @pytest.mark.parametrize(
        "words, said",
        [
            (["--title", "Hello"], "--user, --topic or --all"),
            (["--all", "--data", "{half"], "--data is not JSON"),
            (["-", "--title", "Hello"], "leave out the options"),
            (["no-such-file"], "no-such-file"),
            (["--ttl", "soon"], "--ttl"),
        ],
    )
    def test_wrong_usage(self, notifier: Command, words: list[str], said: str) -> None:
        """Wrong usage is reported before anything is sent."""
        done = notifier.run("send", *words)
        assert (done.code, done.out) == (2, "")
        assert said in done.words

    def test_many(self, notifier: Command, roomy: Service, user: str) -> None:
        """A file is published in order; rejected lines are named and do not stop the others."""
        lines = numbered(user, 3) + b"\n" + b'{"to": {}}\n{"half\n' + numbered(user, 1200, 3)
        (notifier.folder / "job").write_bytes(lines)
        done = notifier.run("send", "job", "--json")
        assert done.code == 4
        assert "Line 5 was rejected: 422 invalid_notification" in done.words
        assert "Line 6 was rejected: 400 malformed_json" in done.words
        assert "2 lines were rejected, 1203 were published." in done.words
        assert [json.loads(line)["line"] for line in done.lines] == [1, 2, 3, *range(5, 1207)]
        assert published(roomy, user) == list(range(1203))

    def test_stdin(self, notifier: Command, roomy: Service, user: str) -> None:
        """Lines on stdin are sent as they arrive, not only at the end."""
        with roomy.client(user) as listener:
            process = notifier.start("send", "-")
            assert process.stdin
            process.stdin.write(numbered(user, 1))
            process.stdin.flush()
            assert listener.receive("notification")["notification"]["data"] == 0
            out, _ = process.communicate(numbered(user, 1, 1), timeout=DEADLINE)
            assert listener.receive("notification")["notification"]["data"] == 1
        assert (process.returncode, len(out.splitlines())) == (0, 2)

    def test_half_line(self, notifier: Command, roomy: Service, user: str) -> None:
        """An incomplete last line is not sent. A second run with the whole input sends it, and nothing twice."""
        whole = numbered(user, 3)
        done = notifier.run("send", "-", "--resume", "job", stdin=whole[:-9])
        assert (done.code, len(done.lines)) == (2, 2)
        assert "Line 3 is incomplete, and was not sent. 2 lines are done" in done.words
        assert notifier.run("send", "-", "--resume", "job", stdin=whole).code == 0
        assert published(roomy, user) == [0, 1, 2]

    def test_no_end_of_line(self, notifier: Command, roomy: Service, user: str) -> None:
        """A last line without a line break is sent if it is complete."""
        assert notifier.run("send", "-", stdin=numbered(user, 2)[:-1]).code == 0
        assert published(roomy, user) == [0, 1]

    @pytest.mark.parametrize("words, said", [(["input"], "Sending  [####"), (["-"], "\r1,200 lines sent")])
    def test_progress(self, notifier: Command, user: str, words: list[str], said: str) -> None:
        """A terminal shows the progress: a bar for a file, a count for a pipe."""
        (notifier.folder / "input").write_bytes(numbered(user, 1200))
        words = [sys.executable, "-m", "notifier", "send", *words]
        screen, terminal = os.openpty()
        with processes.start(["cat", "input"], cwd=notifier.folder, stdout=subprocess.PIPE) as pipe:
            process = processes.start(
                words,
                cwd=notifier.folder,
                env=notifier.environ,
                stdin=pipe.stdout,
                stdout=subprocess.DEVNULL,
                stderr=terminal,
            )
            os.close(terminal)
            assert said in seen_on(screen)
            assert process.wait(DEADLINE) == 0

    def test_full_output(self, notifier: Command, user: str) -> None:
        """An error while ids are written is reported."""
        words = [sys.executable, "-m", "notifier", "send", "--user", user, "--title", "Hello"]
        with open("/dev/full", "wb") as full:
            process = processes.run(
                words, cwd=notifier.folder, env=notifier.environ, stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert process.returncode == 6
        assert b"The output cannot be written: No space left on device" in process.stderr


def seen_on(screen: int) -> str:
    """Return the output on a terminal, when its last process has ended."""
    shown = b""
    with contextlib.suppress(OSError), open(screen, "rb", buffering=0) as file:
        while more := file.read(4096):
            shown += more
    return shown.decode()


class TestResume:
    """`notifier send --resume`: the next run continues where an interrupted one ended."""

    @pytest.mark.parametrize("how, code", [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, -15)])
    def test_ended(self, roomy: Service, tmp_path: Path, user: str, how: signal.Signals, code: int) -> None:
        """If a run ends after a batch was published and before its answer, nothing is lost or published twice."""
        reached, released = threading.Event(), threading.Event()

        def change(number: int, reply: Reply) -> Reply | None:
            if number == 2:
                reached.set()
                released.wait(DEADLINE)
                return None
            return reply

        (tmp_path / "input").write_bytes(numbered(user, 3500))
        with Middle(roomy.port, change) as middle:
            notifier = Command.of(roomy, tmp_path, NOTIFIER_URL=middle.url)
            process = notifier.start("send", "input", "--resume", "job")
            assert reached.wait(DEADLINE)
            first = end(process, how)
            released.set()
            assert first.code == code
            if how is signal.SIGINT:
                assert "Stopped. 1000 lines are done; run the same command again to continue." in first.words
            second = notifier.run("send", "input", "--resume", "job")
            assert (second.code, second.words) == (0, "")
            third = notifier.run("send", "input", "--resume", "job")
            assert (third.code, third.out) == (0, "")
        assert published(roomy, user) == list(range(3500))

    def test_other_batches(self, roomy: Service, tmp_path: Path, user: str) -> None:
        """Nothing is published twice if the second run splits the input into other batches."""
        lines = numbered(user, 700)
        with Middle(roomy.port, lambda number, reply: None) as middle:
            notifier = Command.of(roomy, tmp_path, NOTIFIER_URL=middle.url)
            lost = notifier.run("send", "-", "--resume", "job", "--deadline", "1s", stdin=lines[: len(lines) // 2])
            assert lost.code in (2, 3)
            middle.change = lambda number, reply: reply
            assert notifier.run("send", "-", "--resume", "job", stdin=lines).code == 0
        assert published(roomy, user) == list(range(700))

    def test_unreachable(self, notifier: Command, roomy: Service, user: str) -> None:
        """A service that stays unavailable ends the run with the number of lines that are done."""
        (notifier.folder / "input").write_bytes(numbered(user, 10))
        # The deadline is long enough for one answer, and too short for a retry.
        down = Reply(502, {"Content-Type": "text/html", "Retry-After": "60"}, b"Bad Gateway")
        with Middle(roomy.port, lambda *_: down) as middle:
            done = notifier.run("send", "input", "--deadline", "20s", NOTIFIER_URL=middle.url)
        assert done.code == 5
        assert "behind this proxy? 0 lines are done, and possibly some of the next 1000." in done.words

    def test_another_input(self, notifier: Command, user: str) -> None:
        """A different input than in the first run is rejected, also a shorter one."""
        assert notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 3)).code == 0
        for other in (numbered(user, 3, 1), numbered(user, 2)):
            done = notifier.run("send", "-", "--resume", "job", stdin=other)
            assert (done.code, done.out) == (2, "")
            assert "differ from those that were sent with job" in done.words

    def test_more_input(self, notifier: Command, roomy: Service, user: str) -> None:
        """Lines added to the input are sent."""
        for count in (3, 5):
            assert notifier.run("send", "-", "--resume", "job", stdin=numbered(user, count)).code == 0
        assert published(roomy, user) == list(range(5))

    def test_another_service(self, notifier: Command, user: str) -> None:
        """A resume file is rejected for another service."""
        assert notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 3)).code == 0
        done = notifier.run("send", "-", "--resume", "job", NOTIFIER_URL="http://127.0.0.1:9", stdin=numbered(user, 3))
        assert done.code == 2
        assert "use another resume file" in done.words

    def test_too_late(self, notifier: Command, user: str) -> None:
        """A batch whose idempotency keys may have expired is sent again only on request."""
        job = notifier.folder / "job"
        assert notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 3)).code == 0
        job.write_text(json.dumps(json.loads(job.read_text()) | {"is_open": True}))
        os.utime(job, (1, 1))
        done = notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 4))
        assert done.code == 2
        assert "touch job" in done.words
        job.touch()
        assert notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 4)).code == 0

    @pytest.mark.parametrize("content", [b"hello", b"[]", b'{"job": 1, "other": 2}'])
    def test_no_resume_file(self, notifier: Command, user: str, content: bytes) -> None:
        """A file that is not a resume file is rejected and not overwritten."""
        (notifier.folder / "job").write_bytes(content)
        done = notifier.run("send", "-", "--resume", "job", stdin=numbered(user, 3))
        assert done.code == 6
        assert "job is not a resume file" in done.words
        assert (notifier.folder / "job").read_bytes() == content

    def test_full_disk(self, notifier: Command, roomy: Service, user: str) -> None:
        """If the resume file cannot be written, the run ends; with space on the disk the next run continues."""
        lines = numbered(user, 1500)
        process = notifier.start("send", "-", "--resume", "job")
        # A limit on the file size has the effect of a full disk, for this process only.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10, 10))
        out, words = process.communicate(lines, timeout=DEADLINE)
        assert process.returncode == 6, words
        assert b"The resume file job cannot be written: File too large." in words
        assert b"run the same command again" in words
        assert notifier.run("send", "-", "--resume", "job", stdin=lines).code == 0
        assert published(roomy, user) == list(range(1500))

    def test_full_device(self, roomy: Service, tmp_path: Path, user: str) -> None:
        """On a full disk nothing is sent. Needs the right to mount a tmpfs."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = processes.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount a tmpfs")
        try:
            (disk / "filler").write_bytes(b"x" * 4096)
            notifier = Command.of(roomy, tmp_path)
            done = notifier.run("send", "-", "--resume", "disk/job", stdin=numbered(user, 3))
            assert done.code == 6
            assert "disk/job cannot be written: No space left on device." in done.words
        finally:
            processes.run(["umount", disk], check=True)
        assert published(roomy, user) == []


class TestBadWays:
    """A wrong URL, a wrong key or another service: one sentence and the documented exit code."""

    COMMANDS = (["send", "--user", "nobody", "--title", "Hello"], ["listen"], ["doctor"], ["bench", "--publish", "1"])

    @pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
    def test_no_url(self, notifier: Command, words: list[str]) -> None:
        """An invalid URL is wrong usage."""
        done = notifier.run(*words, NOTIFIER_URL="127.0.0.1", NOTIFIER_TOKEN="a.eyJzdWIiOiJ4In0.c")
        assert (done.code, done.out) == (2, "")
        assert done.words.startswith("notifier: 127.0.0.1 is not the URL of a service") and done.words.count("\n") == 1

    @pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
    def test_nobody_there(self, notifier: Command, words: list[str]) -> None:
        """If nothing listens, the message names the address and what to check."""
        deadline = [] if words == ["doctor"] else ["--deadline", "0.1s"]
        done = notifier.run(*words, *deadline, NOTIFIER_URL="http://127.0.0.1:9", NOTIFIER_TOKEN="a.eyJzdWIiOiJ4In0.c")
        assert (done.code, done.out) == (3, "")
        assert "Cannot reach" in done.words
        assert "Check the URL, and whether the service runs." in done.words.splitlines()[-1]

    @pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
    def test_page(self, notifier: Command, roomy: Service, words: list[str]) -> None:
        """An HTML page is not taken for an answer of the service."""
        with Middle(roomy.port, lambda *_: PAGE) as middle:
            done = notifier.run(*words, NOTIFIER_URL=middle.url, NOTIFIER_TOKEN=roomy.token("nobody"))
        assert (done.code, done.out) == (5, "")
        assert "text/html" in done.words and "check the URL" in done.words
        assert done.words.count("\n") == 1

    @pytest.mark.parametrize("words", [*COMMANDS, ["inbox", "list"]], ids=lambda words: words[0])
    def test_wrong_path(self, notifier: Command, roomy: Service, words: list[str]) -> None:
        """A wrong path in the URL is named."""
        url = f"http://127.0.0.1:{roomy.port}/elsewhere"
        done = notifier.run(*words, NOTIFIER_URL=url, NOTIFIER_TOKEN=roomy.token("nobody"))
        assert (done.code, done.out) == (4, "")
        assert "The service has no /elsewhere/" in done.words and done.words.count("\n") == 1

    @pytest.mark.parametrize("version, said", [("9.0.0", "Update the client."), ("0.0.1", "Update the service.")])
    @pytest.mark.parametrize("words", COMMANDS[::2], ids=lambda words: words[0])
    def test_versions(self, notifier: Command, roomy: Service, words: list[str], version: str, said: str) -> None:
        """A service that is too new or too old is reported."""
        with Middle(roomy.port, lambda _, reply: reply.with_header("Notifier-Version", version)) as middle:
            done = notifier.run(*words, NOTIFIER_URL=middle.url)
        assert (done.code, done.out) == (5, "")
        assert said in done.words and version in done.words

    def test_wrong_key(self, notifier: Command) -> None:
        """A wrong API key is rejected; without one, the message names its variable."""
        wrong = notifier.run("send", "--all", "--title", "Hello", NOTIFIER_API_KEY="nk_wrong")
        assert (wrong.code, "invalid_api_key" in wrong.words) == (4, True)
        none = notifier.run("send", "--all", "--title", "Hello", NOTIFIER_API_KEY="")
        assert (none.code, "NOTIFIER_API_KEY" in none.words) == (2, True)

    @pytest.mark.parametrize(
        "token, code, said",
        [("a.b.c", 4, "invalid_token"), ("", 2, "NOTIFIER_TOKEN"), ("nk_key", 2, "API key"), ("a b", 2, "spaces")],
    )
    def test_wrong_token(self, notifier: Command, token: str, code: int, said: str) -> None:
        """A wrong token is rejected, by the service or before."""
        done = notifier.run("listen", NOTIFIER_TOKEN=token)
        assert (done.code, done.out) == (code, "")
        assert said in done.words


class TestListen:
    """`notifier listen`."""

    def test_lines(self, notifier: Command, roomy: Service, user: str) -> None:
        """Each notification is one line, without control characters."""
        process = notifier.start("listen", "--count", "2", NOTIFIER_TOKEN=roomy.token(user))
        assert process.stderr and b"Listening to" in process.stderr.readline()
        roomy.publish({"to": {"users": [user]}, "title": "On\n\x1b[2Jits way", "severity": "success"})
        roomy.publish({"to": {"users": [user]}, "data": {"order": 1}})
        out, _ = process.communicate(timeout=DEADLINE)
        first, second = out.decode().splitlines()
        assert first.endswith(f"  user:{user}  success  On  [2Jits way")
        assert second.endswith('  info  {"order": 1}')
        assert process.returncode == 0

    def test_json(self, notifier: Command, roomy: Service, user: str) -> None:
        """With --json each event is one JSON object."""
        token = roomy.token(user, [user])
        process = notifier.start("listen", "--topic", user, "--json", "--count", "2", NOTIFIER_TOKEN=token)
        assert process.stderr and process.stdout and process.stderr.readline()
        id = roomy.publish({"to": {"topics": [user]}, "title": "Hello"}).json["id"]
        roomy.recall(id)
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))  # another channel may overtake these
        roomy.publish({"to": {"users": [user]}, "title": "Bye"})
        out, _ = process.communicate(timeout=DEADLINE)
        third = json.loads(out)
        assert (first["type"], first["id"], first["notification"]["title"]) == ("received", id, "Hello")
        assert (second["type"], second["id"]) == ("removed", id)
        assert third["channel"] == f"user:{user}"

    def test_state(self, notifier: Command, roomy: Service, user: str) -> None:
        """With --state, a new run prints what was published since the kill, and nothing twice."""
        token = roomy.token(user)
        got: list[int] = []
        for first in range(0, 9, 3):
            process = notifier.start("listen", "--state", "state", "--json", NOTIFIER_TOKEN=token)
            assert process.stderr and process.stdout and process.stderr.readline()
            for number in range(first, first + 2):
                answer = roomy.publish({"to": {"users": [user]}, "type": "test", "data": number})
            while not got or got[-1] != first + 1:
                got.append(json.loads(process.stdout.readline())["notification"]["data"])
            last = answer.json["channels"][0]["cursor"]
            eventually(lambda last=last: state_of(notifier.folder) == last)
            end(process)
            roomy.publish({"to": {"users": [user]}, "type": "test", "data": first + 2})
        rest = notifier.run("listen", "--state", "state", "--json", "--count", "1", NOTIFIER_TOKEN=token)
        assert [*got, json.loads(rest.out)["notification"]["data"]] == list(range(9))

    def test_interrupted(self, notifier: Command, roomy: Service, user: str) -> None:
        """Ctrl-C ends it with a short message."""
        process = notifier.start("listen", NOTIFIER_TOKEN=roomy.token(user))
        assert process.stderr and process.stderr.readline()
        done = end(process, signal.SIGINT)
        assert (done.code, done.out, done.words) == (130, "", "\nnotifier: Stopped.\n")

    def test_reader_left(self, notifier: Command, roomy: Service, user: str) -> None:
        """It ends quietly when the reader of its output ends, as `head` does."""
        process = notifier.start("listen", "--json", NOTIFIER_TOKEN=roomy.token(user))
        assert process.stderr and process.stdout and process.stderr.readline()
        process.stdout.close()
        roomy.publish({"to": {"users": [user]}, "title": "Hello"})
        assert process.wait(DEADLINE) == 0
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.stdin
        process.stdin.close()

    def test_topic(self, notifier: Command, roomy: Service, user: str) -> None:
        """A topic that the token does not grant ends the command with a message."""
        done = notifier.run("listen", "--topic", "secret", NOTIFIER_TOKEN=roomy.token(user))
        assert done.code == 4
        assert "The token does not grant the topic secret." in done.words

    def test_token_command(self, notifier: Command, roomy: Service, user: str) -> None:
        """A command can provide the token."""
        token = f"echo {roomy.token(user)}"
        process = notifier.start("listen", "--token-command", token, "--count", "1")
        assert process.stderr and process.stderr.readline()
        roomy.publish({"to": {"users": [user]}, "title": "Hello"})
        out, _ = process.communicate(timeout=DEADLINE)
        assert b"Hello" in out

    @pytest.mark.parametrize("command", ["false", "no-such-command", "echo 'a quotation without an end", "echo"])
    def test_no_token_from_command(self, notifier: Command, command: str) -> None:
        """A token command that fails, is missing or prints nothing is reported."""
        done = notifier.run("listen", "--token-command", command)
        assert (done.code, done.out, done.words.count("\n")) == (2, "", 1)
        assert "token" in done.words

    def test_full_disk(self, notifier: Command, roomy: Service, user: str) -> None:
        """If the state file cannot be written, the command ends with an error."""
        process = notifier.start("listen", "--state", "no/such/folder", NOTIFIER_TOKEN=roomy.token(user))
        assert process.stderr and process.stderr.readline()
        roomy.publish({"to": {"users": [user]}, "title": "Hello"})
        out, words = process.communicate(timeout=DEADLINE)
        assert process.returncode == 6
        assert b"Hello" in out
        assert b"The state file no/such/folder cannot be written: No such file or directory." in words


def state_of(folder: Path) -> Any:
    """Return the cursor of a state file."""
    return json.loads((folder / "state").read_text())["cursor"]


class TestTokens:
    """`notifier token` and `notifier keys`."""

    def test_token(self, notifier: Command, roomy: Service, user: str) -> None:
        """The service accepts the token and its topics."""
        done = notifier.run("token", user, "--topic", f"{user}:*", NOTIFIER_TOKEN_SECRETS=",".join(TOKEN_SECRETS))
        with roomy.client(token=done.out.strip(), topics=[f"{user}:a"]) as listener:
            assert listener.welcome["user"] == user
            assert listener.welcome["topics"] == [f"{user}:a"]

    @pytest.mark.parametrize("words, said", [(["a b"], "sub"), (["alice", "--for", "soon"], "30s, 15m, 1h or 7d")])
    def test_wrong_token(self, notifier: Command, words: list[str], said: str) -> None:
        """A token that the service would reject is not created."""
        done = notifier.run("token", *words, NOTIFIER_TOKEN_SECRETS=TOKEN_SECRETS[0])
        assert (done.code, done.out) == (2, "")
        assert said in done.words

    def test_unreadable_secret(self, notifier: Command) -> None:
        """A secret file that cannot be read is named."""
        (notifier.folder / ".notifier/token-secret").mkdir(parents=True)
        done = notifier.run("token", "alice")
        assert (done.code, done.words) == (6, "notifier: .notifier/token-secret: Is a directory.\n")

    def test_no_secret(self, notifier: Command) -> None:
        """Without a secret, the message names the setting."""
        done = notifier.run("token", "alice")
        assert done.code == 2
        assert "NOTIFIER_TOKEN_SECRETS is not set" in done.words

    def test_token_of_settings(self, notifier: Command) -> None:
        """The token has what the settings of the service require."""
        variables = {"NOTIFIER_TOKEN_SECRETS": TOKEN_SECRETS[0], "NOTIFIER_TOKEN_ISSUER": "us"}
        variables |= {"NOTIFIER_TOKEN_AUDIENCE": "app,other", "NOTIFIER_TOKEN_USER_CLAIM": "/who/name"}
        done = notifier.run("token", "alice", **variables)
        claims = jwt.decode(done.out.strip(), TOKEN_SECRETS[0], ["HS256"], audience="app", issuer="us")
        assert claims["who"] == {"name": "alice"}
        assert claims["jti"]
        done = notifier.run("token", "alice", "--for", "90d", **variables)
        assert (done.code, "NOTIFIER_MAX_TOKEN_AGE" in done.words) == (2, True)
        done = notifier.run("token", "alice", **variables | {"NOTIFIER_MAX_TOKEN_AGE": "x"})
        assert (done.code, "whole number" in done.words) == (2, True)

    def test_revoke(self, notifier: Command, roomy: Service, user: str) -> None:
        """The tokens of a user are revoked, those that are older than an age, or one of them."""
        old, new = roomy.token(user, iat=time.time() - 2000), roomy.token(user, iat=time.time() - 10, jti=user)
        assert notifier.run("revoke", user, "--age", "1000s").code == 0
        with pytest.raises(ConnectionClosed):
            eventually(lambda: roomy.client(token=old).close())
        roomy.client(token=new).close()
        assert notifier.run("revoke", "--jti", user).code == 0
        with pytest.raises(ConnectionClosed):
            eventually(lambda: roomy.client(token=new).close())
        assert notifier.run("user", "disconnect", user, "--revoke").code == 0
        for words in ([], [user, "--jti", "x"], ["--jti", "x", "--age", "1m"]):
            assert notifier.run("revoke", *words).code == 2

    def test_keys(self, notifier: Command) -> None:
        """The printed key is valid in the setting."""
        plain = notifier.run("keys", "new", "shop").out.strip()
        [key] = Settings.from_environ({"NOTIFIER_API_KEYS": plain}).auth.api_keys
        assert (key.id, key.topics) == ("shop", ("*",))
        limits = ("--scope", "publish", "--topic", "reports:*", "--user", "acme:*")
        restricted = notifier.run("keys", "new", "reports", *limits).out
        keys = f"[{restricted}]"
        [key] = Settings.from_environ({"NOTIFIER_API_KEYS": keys}).auth.api_keys
        assert (key.id, key.scopes, key.topics, key.users) == ("reports", {"publish"}, ("reports:*",), ("acme:*",))

    @pytest.mark.parametrize("name", ["a:b", "a,b", "[a", " a"])
    def test_wrong_name(self, notifier: Command, name: str) -> None:
        """A name that the setting could not hold is rejected."""
        done = notifier.run("keys", "new", name)
        assert (done.code, done.out) == (2, "")


class TestDoctor:
    """`notifier doctor`."""

    def test_healthy(self, notifier: Command, roomy: Service) -> None:
        """A healthy service passes all checks."""
        runs: list[Done] = []

        def is_quick() -> bool:
            """Run it; on a busy machine the first bytes of events may take longer than two seconds."""
            runs.append(notifier.run("doctor", "--idle", "0.1s", NOTIFIER_TOKEN=roomy.token("doctor")))
            return "are buffered" not in runs[-1].out

        eventually(is_quick)
        done = runs[-1]
        findings = {line.split()[1].rstrip(":"): line.split()[0] for line in done.lines}
        assert findings == dict.fromkeys(
            [
                "service",
                "clock",
                "ready",
                "redis",
                "persistence",
                "eviction",
                "limits",
                "upgrade",
                "idle",
                "origin",
                "events",
            ],
            "ok",
        )
        assert (done.code, done.words) == (0, "")

    def test_without_secrets(self, notifier: Command) -> None:
        """Checks that need a secret are skipped, with the setting that is missing."""
        done = notifier.run("doctor", "--idle", "0s", "--json", NOTIFIER_API_KEY="")
        findings = {finding["check"]: finding for finding in map(json.loads, done.lines)}
        assert findings["redis"]["level"] == findings["events"]["level"] == "skip"
        assert "NOTIFIER_API_KEY" in findings["redis"]["text"]
        assert done.code == 0

    def test_bad_proxy(self, notifier: Command, roomy: Service) -> None:
        """A proxy that drops upgrades and buffers events is detected, and a wrong clock."""

        def change(_: int, reply: Reply) -> Reply:
            return reply.with_header("Date", "Sat, 01 Jan 2022 00:00:00 GMT")

        with Middle(roomy.port, change) as middle:
            done = notifier.run("doctor", middle.url, "--idle", "0s", NOTIFIER_TOKEN=roomy.token("doctor"))
        assert done.code == 1
        assert "fail  events: Server-Sent Events are buffered: disable that in the proxy" in done.out
        assert any(line.startswith("fail  upgrade: A WebSocket is answered 426. Configure") for line in done.lines)
        assert any(line.startswith("warn  clock: The service's clock is") for line in done.lines)
        assert "skip  origin: Needs WebSockets that pass the proxy." in done.lines

    def test_cut_when_idle(self, tmp_path: Path) -> None:
        """An idle connection that is closed is detected."""
        with Service(workers=1) as service:
            process = Command.of(service, tmp_path).start("doctor", "--idle", "60s")
            assert process.stdout
            while not (line := process.stdout.readline()).startswith(b"ok    upgrade"):
                assert line, "it has ended"
            service.stop()
            out, _ = process.communicate(timeout=2 * DEADLINE)
        assert process.returncode == 1
        assert b"fail  idle: An idle connection was closed within" in out

    def test_low_limit(self, tmp_path: Path) -> None:
        """A low limit on open files is detected."""
        with Service(workers=1, max_connections=10) as service:
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (512, 512))
            os.kill(service.pid, signal.SIGHUP)  # the new workers have the limit
            notifier = Command.of(service, tmp_path)
            eventually(lambda: "512 open files. Raise ulimit -n" in notifier.run("doctor", "--idle", "0s").out)


def test_bench(notifier: Command, roomy: Service, user: str) -> None:
    """A small load is delivered completely, and the latency is reported."""
    done = notifier.run("bench", "--publish", "50", "--listeners", "3", "--json", NOTIFIER_TOKEN=roomy.token(user))
    report = json.loads(done.out)
    assert (done.code, report["published"], report["delivered"], report["lost"]) == (0, 50, 150, 0)
    assert 0 < report["latency_ms_median"] <= report["latency_ms_p99"] <= report["latency_ms_most"]
    assert published(roomy, user) == []


class TestServe:
    """`notifier serve`."""

    def test_taken_port(self, tmp_path: Path) -> None:
        """A port that is in use is one sentence, which names the setting."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = Command(tmp_path).run("serve", "--dev", "--bind", address)
        assert (done.code, done.out) == (1, "")
        sentence = f"Notifier cannot start. NOTIFIER_BIND: it cannot listen at {address}: Address already in use."
        assert sentence in done.words and "Traceback" not in done.words

    def test_development(self, tmp_path: Path) -> None:
        """In one folder, the commands find the secrets of the service; SIGTERM ends the service."""
        folder = Path(f"/tmp/notifier-{os.getpid()}")  # a short path: it holds a Unix socket
        folder.mkdir()
        notifier = Command(folder)
        process = notifier.start(
            "serve", "--dev", "--workers", "1", "--bind", "127.0.0.1:8080", NOTIFIER_DRAIN_TIMEOUT="1"
        )
        try:
            key = folder / ".notifier/api-key"
            eventually(lambda: key.exists() and key.read_text())
            sent = notifier.run("send", "--all", "--title", "x")
            if process.poll() is not None:
                assert "Address already in use" in end(process).words
                pytest.skip("needs port 8080")
            assert sent.code == 0, sent.words
            token = notifier.run("token", "alice").out.strip()
            listening = notifier.start("listen", "--count", "1", NOTIFIER_TOKEN=token)
            assert listening.stderr and listening.stderr.readline()
            assert notifier.run("send", "--user", "alice", "--title", "Hello").code == 0
            out, _ = listening.communicate(timeout=DEADLINE)
            assert b"Hello" in out
            assert end(process, signal.SIGTERM).code == 0
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(folder)

    def test_wrong_setting(self, notifier: Command) -> None:
        """A wrong setting ends the start with a message."""
        done = notifier.run("serve", NOTIFIER_HEARTBEAT="often")
        assert done.code == 1
        assert "Notifier cannot start. NOTIFIER_HEARTBEAT must be a number." in done.words
