"""Every command of the README, the quickstart and the production section works, in a fresh copy of the project."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from notifier.client import NotifierClient
from notifier.server.embedded_valkey import find_server
from tests.kit import processes
from tests.kit.reader import APP, REDIS, Block, Reader, blocks

README, QUICKSTART = list(blocks("README.md")), list(blocks("docs/quickstart.md"))
PRODUCTION = [block for block in blocks("docs/deploy.md") if block.section == "In short"]
# Blocks that are not run, and why. Nothing is added here that could be run.
SKIPPED = {"make test ": "`make test` would start the same test again, and the other commands take minutes"}
# The functions that the page of the quickstart calls, and that its reader writes.
HANDLERS = """<ul id="list"></ul><script>
  const list = document.querySelector("#list");
  const show = ({ id, title }) => list.append(Object.assign(document.createElement("li"), { id, textContent: title }));
  const hide = (id) => document.getElementById(id)?.remove();
  const reload = () => {};
</script>"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture(scope="module")
def shared_reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with contextlib.closing(Reader(tmp_path_factory.mktemp("reader"))) as reader:
        yield reader


@pytest.fixture
def reader(shared_reader: Reader) -> Iterator[Reader]:
    """A reader with a copy of the project. Each page begins without servers and exported variables."""
    yield shared_reader
    shared_reader.close()


def read(page: list[Block], reader: Reader, checks: dict[str, Callable[[str], None]]) -> None:
    """Run the blocks of a page in order, and call each check after the block that contains its key.

    A check gets the output of its block; the check of a block of HTML that is not saved gets the block.
    """
    left = dict(checks)
    for block in page:
        called = [left.pop(text) for text in list(left) if text in block.text]
        if block.skipped:
            continue
        if block.file:
            reader.save(block)
        elif block.language == "html":
            assert called, f"no check for {block.text}"
            called[0](block.text)
            continue
        output = "" if block.file else reader.run(block)
        for check in called:
            check(output)
    assert not left, "no block contains these keys"


def test_skipped() -> None:
    """A block that is not run is marked in the page, with a reason, and listed here."""
    marked = {block.text: block.skipped for block in README + QUICKSTART + PRODUCTION if block.skipped}
    assert sorted(marked.values()) == sorted(SKIPPED.values())
    assert all(text.startswith(line) for text, reason in marked.items() for line in SKIPPED if SKIPPED[line] == reason)


def test_languages() -> None:
    """The pages contain only languages that these tests can run."""
    assert {block.language for block in README + QUICKSTART + PRODUCTION} <= {"", "python", "html"}


def test_readme(reader: Reader, browser: Browser) -> None:
    """The README's commands start the service and publish to its demo page."""
    page = browser.new_page()

    def check_demo(_: str) -> None:
        page.goto(reader.url())
        expect(page.locator('[data-client="alice"]')).to_have_attribute("data-state", "connected")

    def check_hello(_: str) -> None:
        expect(page.locator('[data-client="alice"] [data-role="title"]').first).to_have_text("Hello")

    read(README, reader, {"make run\n": check_demo, '"title": "Hello"': check_hello})
    page.close()


def test_quickstart(reader: Reader, browser: Browser) -> None:
    """The quickstart's steps lead to a page with live notifications, a bell and an inbox."""
    page = browser.new_page()

    def check_response(output: str) -> None:
        assert json.loads(output)["channels"][0]["channel"] == "user:alice"

    def check_page(_: str) -> None:
        page.goto(reader.url(APP))
        expect(page.locator("#state")).to_have_text("connected")

    def check_push(_: str) -> None:
        published = ["Something has happened", "Hello from my code"]
        expect(page.locator("li")).to_have_text(published)
        page.context.set_offline(True)
        expect(page.locator("#state")).not_to_have_text("connected")
        reader.shell(".venv/bin/python mine/publish.py")
        expect(page.locator("li")).to_have_count(2)
        page.context.set_offline(False)
        expect(page.locator("li")).to_have_text(published * 2)

    def check_bell(_: str) -> None:
        page.goto(reader.url(APP))
        page.get_by_role("button", name="unread").click()
        expect(page.get_by_role("dialog").locator("li", has_text="Hello from my code")).to_have_count(2)

    def check_events(script: str) -> None:
        token = reader.shell(".venv/bin/notifier token alice --topic orders").strip()
        key = (reader.folder / ".notifier" / "api-key").read_text().strip()
        try_page(browser.new_page(), reader.url(), script, token, key)

    def check_many(output: str) -> None:
        assert output.count('"status":201') == 3, output
        expect(page.get_by_role("dialog").locator("li", has_text="We are back")).to_be_visible()

    def check_inbox(output: str) -> None:
        listed, done = map(json.loads, output.replace("}{", "}\n{").splitlines())
        assert {"We are back", "On its way"} <= {item["notification"]["title"] for item in listed["items"]}
        assert listed["counts"]["unread"] == len(listed["items"])
        assert done["counts"] == {"unread": 0, "unseen": 0}

    read(
        QUICKSTART,
        reader,
        {
            "Is anybody there?": check_response,
            "flask --app": check_page,
            "python mine/publish.py": check_push,
            "<notifier-bell>": check_bell,
            "storage: sessionStorage": check_events,
            "x-ndjson": check_many,
            "/v1/inbox/read": check_inbox,
        },
    )
    page.close()


def test_production(reader: Reader) -> None:
    """The production section's commands start a service whose secrets sign tokens."""

    def check_token(_: str) -> None:
        code = next(block.text for block in PRODUCTION if "def token_of" in block.text)
        token = reader.run(Block("", "python", f"{code}\nprint(token_of('alice'))", "", "")).strip()
        key = reader.shell('echo "${NOTIFIER_API_KEYS#*:}"').strip()
        with (
            NotifierClient(reader.url(), api_key=key) as notifier,
            notifier.listen(["orders", "project:alice:1"], token=token) as stream,
        ):
            notifier.publish(to={"topics": ["project:alice:1"]}, title="In production")
            assert next(stream).notification["title"] == "In production"

    with redis_on(reader.ports[REDIS]):
        read(PRODUCTION, reader, {"gunicorn wsgi:app": lambda _: None, "def token_of": check_token})
        reader.close()  # before Redis ends


def try_page(page: Page, url: str, script: str, token: str, key: str) -> None:
    """Open a script as a page of the service's own origin, whose backend returns the token."""

    def answer(text: str) -> Callable[[Route], None]:
        return lambda route: route.fulfill(body=text, content_type="text/html")

    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(f"{url}/my-page", answer(HANDLERS + script))
    page.route(f"{url}/my-token", answer(token))
    page.goto(f"{url}/my-page")
    expect(page.locator("body")).to_have_attribute("data-stream", "connected")
    with NotifierClient(url, api_key=key) as notifier:
        published = notifier.publish(to={"users": ["alice"]}, title="For the page")
        notifier.publish(to={"topics": ["orders"]}, title="For its topic")
        expect(page.locator("li")).to_have_text(["For the page", "For its topic"])
        notifier.recall(published.id)
        expect(page.locator("li")).to_have_text(["For its topic"])
    assert errors == []
    page.close()


@contextlib.contextmanager
def redis_on(port: str) -> Iterator[None]:
    """Run the Redis of the production section."""
    command = [find_server(), "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    server = processes.start(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()
