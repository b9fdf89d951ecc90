"""Every command of the README and of the quickstart does what they say, in a copy of the project that is as new."""

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
# What is not run, and why. Nothing is added here that could be run.
SKIPPED = {
    "make test ": "it would run this test, and the others take minutes",
    "notifier serve": "an overview, of which half runs until it is ended",
}
# What the page of the README calls, and the reader has to write.
HANDLERS = """<ul id="list"></ul><script>
  const list = document.querySelector("#list");
  const show = ({ id, title }) => list.append(Object.assign(document.createElement("li"), { id, textContent: title }));
  const hide = (id) => document.getElementById(id)?.remove();
  const loadAnew = () => {};
</script>"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Who has just got the project."""
    with contextlib.closing(Reader(tmp_path_factory.mktemp("reader"))) as reader:
        yield reader


def read(page: list[Block], reader: Reader, then: dict[str, Callable[[str], None]]) -> None:
    """Do what a page says, block by block; after that with a text look, with what it printed, whether it has worked."""
    left = dict(then)
    for block in page:
        looks = [left.pop(text) for text in list(left) if text in block.text]
        if block.skipped:
            continue
        if block.file:
            reader.save(block)
        elif block.language == "html":
            assert looks, f"nobody looks at {block.text}"
            looks[0](block.text)
            continue
        output = "" if block.file else reader.run(block)
        for look in looks:
            look(output)
    assert not left, "these are in no block"


def test_skipped() -> None:
    """What is not run is marked in the page, with a reason, and listed here."""
    marked = {block.text: block.skipped for block in README + QUICKSTART if block.skipped}
    assert sorted(marked.values()) == sorted(SKIPPED.values())
    assert all(text.startswith(line) for text, reason in marked.items() for line in SKIPPED if SKIPPED[line] == reason)


def test_languages() -> None:
    """There is nothing in the pages that no test knows how to run."""
    assert {block.language for block in README + QUICKSTART} <= {"", "python", "html"}


def test_readme(reader: Reader, browser: Browser) -> None:
    """The README's commands work in its order, from `make run` to production."""
    page = browser.new_page()
    [token_of] = [block.text for block in README if "def token_of" in block.text]

    def token() -> str:
        code = f"{token_of}\nprint(token_of('alice'))"
        return reader.run(Block("README.md", "python", code, "", "")).strip()

    def shows(title: str) -> None:
        expect(page.locator('[data-client="alice"] [data-role="title"]').first).to_have_text(title)

    def see_the_demo(_: str) -> None:
        page.goto(reader.url())
        expect(page.locator('[data-client="alice"]')).to_have_attribute("data-state", "connected")

    def token_of_the_demo() -> str:
        reader.shell('export NOTIFIER_TOKEN_SECRETS="$(cat .notifier/token-secret)"')
        fresh = token()
        reader.shell("unset NOTIFIER_TOKEN_SECRETS")
        return fresh

    def see_the_page(script: str) -> None:
        key = (reader.folder / ".notifier" / "api-key").read_text().strip()
        try_page(browser.new_page(), reader.url(), script, token_of_the_demo(), key)

    def see_the_elements(text: str) -> None:
        try_elements(browser.new_page(), reader.url(), text, token_of_the_demo())

    def see_many(output: str) -> None:
        assert output.count('"status":201') == 3, output
        shows("We are back")

    def see_the_inbox(output: str) -> None:
        listed, done = map(json.loads, output.replace("}{", "}\n{").splitlines())
        assert {"We are back", "On its way"} <= {item["notification"]["title"] for item in listed["items"]}
        assert listed["counts"]["unread"] == len(listed["items"])
        assert done["counts"] == {"unread": 0, "unseen": 0}

    def see_production(_: str) -> None:
        page.close()
        reader.shell('export NOTIFIER_API_KEY="${NOTIFIER_API_KEYS#shop:}"')

    def see_the_token(_: str) -> None:
        key = reader.shell('echo "$NOTIFIER_API_KEY"').strip()
        with (
            NotifierClient(reader.url(), api_key=key) as notifier,
            notifier.listen(["orders", "project:alice:1"], token=token()) as stream,
        ):
            notifier.publish(to={"topics": ["project:alice:1"]}, title="In production")
            assert next(stream).notification["title"] == "In production"

    with redis_on(reader.ports[REDIS]):
        read(
            README,
            reader,
            {
                "make run\n": see_the_demo,
                '"title": "Hello"': lambda _: shows("Hello"),
                "storage: sessionStorage": see_the_page,
                "<notifier-bell>": see_the_elements,
                "notifier.publish(": lambda _: shows("On its way"),
                "x-ndjson": see_many,
                "/v1/inbox/read": see_the_inbox,
                "gunicorn wsgi:app": see_production,
                "def token_of": see_the_token,
            },
        )
        reader.close()  # while Redis is still there


def test_quickstart(reader: Reader, browser: Browser) -> None:
    """Its five steps lead to a page that gets a push."""
    page = browser.new_page()

    def see_the_page(_: str) -> None:
        page.goto(reader.url(APP))
        expect(page.locator("#state")).to_have_text("connected")

    def see_the_push(_: str) -> None:
        expect(page.locator("li")).to_have_text(["Something has happened", "Hello from my code"])

    def see_it_was_taken(output: str) -> None:
        assert json.loads(output)["channels"][0]["channel"] == "user:alice"

    read(
        QUICKSTART,
        reader,
        {"Is anybody there?": see_it_was_taken, "flask --app": see_the_page, "mine/publish.py": see_the_push},
    )
    page.close()


def open_page(page: Page, url: str, text: str, token: str) -> list[str]:
    """Open a page of the service's own origin, to which its backend gives a token; return what it complains of."""

    def answer(text: str) -> Callable[[Route], None]:
        return lambda route: route.fulfill(body=text, content_type="text/html")

    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.route(f"{url}/my-page", answer(text))
    page.route(f"{url}/my-token", answer(token))
    page.goto(f"{url}/my-page")
    return complaints


def try_elements(page: Page, url: str, text: str, token: str) -> None:
    """Open the README's page with a bell, which has what was published before."""
    complaints = open_page(page, url, text, token)
    page.get_by_role("button", name="unread").click()
    expect(page.get_by_role("dialog").locator("li", has_text="Hello")).to_be_visible()
    assert complaints == []
    page.close()


def try_page(page: Page, url: str, script: str, token: str, key: str) -> None:
    """Open what the README shows as a page, with handlers of its own."""
    complaints = open_page(page, url, HANDLERS + script, token)
    expect(page.locator("body")).to_have_attribute("data-stream", "connected")
    with NotifierClient(url, api_key=key) as notifier:
        published = notifier.publish(to={"users": ["alice"]}, title="For the page")
        notifier.publish(to={"topics": ["orders"]}, title="For its topic")
        expect(page.locator("li")).to_have_text(["For the page", "For its topic"])
        notifier.recall(published.id)
        expect(page.locator("li")).to_have_text(["For its topic"])
    assert complaints == []
    page.close()


@contextlib.contextmanager
def redis_on(port: str) -> Iterator[None]:
    """The Redis that production has."""
    command = [find_server(), "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    server = processes.start(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()
