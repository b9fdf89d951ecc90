"""Every example runs as described in its first lines, with the real service, frameworks and Chromium."""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, Page, expect

from notifier.client import NotifierClient, Received, Stream
from tests.kit import processes
from tests.kit.example import (
    EXAMPLES,
    FILES,
    INSTALL,
    ROOT,
    SERVICE_PORT,
    Example,
    Ports,
    choose_ports,
    commands,
    copy_examples,
    with_ports,
)
from tests.kit.service import Service
from tests.kit.waiting import eventually

Listen = Callable[..., Stream]


@pytest.fixture(scope="module")
def ports() -> Ports:
    """A free port for each that the examples name."""
    return choose_ports()


@pytest.fixture(scope="module")
def service(ports: Ports) -> Iterator[Service]:
    """The service of `make run`, with the setting that one example needs."""
    [origin] = re.findall(r"NOTIFIER_ALLOWED_ORIGINS=(\S+)", with_ports(commands(EXAMPLES / "cookie.py")[0], ports))
    service = Service(dev=1, api_keys="", token_secrets="", allowed_origins=origin)
    ports[SERVICE_PORT] = str(service.port)
    with service:
        yield service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, ports: Ports, service: Service) -> Path:
    """A folder that looks like the project's while `make run` runs."""
    folder = tmp_path_factory.mktemp("project")
    copy_examples(folder, ports, service.directory)
    return folder


@pytest.fixture(scope="module")
def notifier(service: Service) -> Iterator[NotifierClient]:
    """A publisher."""
    key = (service.directory / "api-key").read_text().strip()
    with NotifierClient(f"http://127.0.0.1:{service.port}", api_key=key) as notifier:
        yield notifier


@pytest.fixture
def listen(service: Service) -> Listen:
    """Returns a stream of a user."""
    url, secret = f"http://127.0.0.1:{service.port}", (service.directory / "token-secret").read_text().strip()

    def listen(user: str, *topics: str) -> Stream:
        claims = {"sub": user, "exp": int(time.time()) + 3600, "topics": topics}
        return NotifierClient(url).listen(topics, token=jwt.encode(claims, secret, algorithm="HS256"))

    return listen


@pytest.fixture
def example(request: pytest.FixtureRequest, folder: Path) -> Iterator[Example]:
    """The example that the test names by `of`."""
    example = Example(folder, request.param)
    yield example
    example.kill()


def of(name: str) -> pytest.MarkDecorator:
    """Name the example that a test is about."""
    return pytest.mark.parametrize("example", [name], indirect=True, ids=[name])


def received(stream: Stream) -> dict:
    """Return the next notification."""
    event = next(stream)
    assert isinstance(event, Received), event
    return event.notification


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_first_lines(path: Path) -> None:
    """Every example begins with three commands: the service, what else it needs, and itself."""
    first, second, third = commands(path)
    assert re.fullmatch(r"(NOTIFIER_\w+=\S+ )?make run {4}# in another terminal(, now or later)?", first)
    assert path.stem in third or str(path.parent.relative_to(ROOT)) in third
    needs_more = re.search(r"^(?:from|import) (django|fastapi|sqlalchemy|streamlit)\b", path.read_text(), re.MULTILINE)
    assert (second == INSTALL) == bool(needs_more)


@of("echo.py")
def test_echo(example: Example) -> None:
    """Text and bytes are echoed unchanged."""
    assert example.start().ends() == 0, example.output
    came = re.findall(r"(.+) came back after [\d.]+ ms", example.output)
    assert came == ["'Hello'", "'How are you?'", "b'Hello How are you?'"]


@of("header.py")
def test_header(example: Example, notifier: NotifierClient) -> None:
    """A token in a header is accepted, and an invalid one is rejected with a message."""
    with example:
        example.prints("Welcome, alice.")
        notifier.publish(to={"users": ["alice"]}, title="By header")
        example.prints("By header")
    assert example.start("header.py alice", "header.py 'no name'").ends() == 1
    assert "The service refuses the token: " in example.output


@of("listener.py")
def test_listener(example: Example, notifier: NotifierClient, service: Service) -> None:
    """It prints notifications, and after a kill or a restart of the service the missed ones, each once."""
    with example:
        example.prints("Listening.")
        published = notifier.publish(to={"users": ["alice"]}, title="To alice")
        example.prints("To alice")
        notifier.publish(to={"topics": ["orders"]}, title="To the topic")
        example.prints("To the topic")
        notifier.recall(published.id)
        example.prints(f"Recalled: {published.id}")
        service.stop()
        service.start()
        notifier.publish(to={"users": ["alice"]}, title="After the restart")
        example.prints("After the restart")
        eventually(lambda: (example.folder / "listener.json").exists())
    notifier.publish(to={"users": ["alice"]}, title="Missed")
    with example:
        example.prints("Missed")
        assert "To the topic" not in example.output


@of("listener.py")
@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (("listener.py alice", "listener.py 'no name'"), "Correct the token: 401 invalid_token"),
        (("listener.py", "listener.py"), "Something else answers at NOTIFIER_URL: "),
        ((". examples/environment.sh", ". examples/environment.sh; NOTIFIER_URL=nowhere"), "Correct NOTIFIER_URL or "),
    ],
    ids=["ProblemError", "NotNotifier", "ConfigurationError"],
)
def test_listener_gives_up(example: Example, replaced: tuple[str, str], said: str, folder: Path) -> None:
    """It ends with a message if retrying cannot help."""
    (folder / "listener.json").unlink(missing_ok=True)
    other = Example(folder, "cookie.py")
    if "Something else" in said:
        other.start()
        replaced = (". examples/environment.sh", f". examples/environment.sh; NOTIFIER_URL={other.address()}")
    try:
        assert example.start(*replaced).ends() == 1
        assert said in example.output
    finally:
        other.kill()


@of("sensor.py")
def test_sensor(example: Example, service: Service, listen: Listen) -> None:
    """Readings taken while the service was down, before and after a kill, arrive once and in order."""
    service.stop()
    with example:
        example.prints("3 readings wait")
    service.start()
    times: list[float] = []
    with listen("dashboard", "readings") as stream, example:
        while not times or times[-1] < example.started:
            times.append(received(stream)["data"]["at"])
    assert len(times) > 3
    assert times == sorted(set(times))


@of("page/index.html")
def test_page(example: Example, browser: Browser, notifier: NotifierClient) -> None:
    """A page of another origin shows notifications of its user and its topic, and removes recalled ones."""
    with example:
        page = browser.new_page()
        page.goto(example.address())
        expect(page.locator("#state")).to_have_text("connected")
        published = notifier.publish(to={"users": ["alice"]}, title="For alice")
        expect(page.locator("li").first).to_contain_text("For alice")
        notifier.publish(to={"topics": ["orders"]}, title="For the topic", body="Order 1042")
        expect(page.locator("li").first).to_have_text("For the topic Order 1042")
        notifier.recall(published.id)
        expect(page.locator("li")).to_have_count(1)
        page.close()


@of("cookie.py")
def test_cookie(example: Example, browser: Browser, notifier: NotifierClient) -> None:
    """After the login the page is connected, by a cookie that scripts cannot read."""
    with example:
        page = browser.new_page()
        page.goto(example.address())
        expect(page.locator("#state")).to_have_text("idle")
        page.get_by_placeholder("Name").fill("alice")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#state")).to_have_text("connected")
        notifier.publish(to={"users": ["alice"]}, title="By cookie")
        expect(page.locator("li").first).to_have_text("By cookie")
        assert page.evaluate("document.cookie") == ""
        page.close()


def enter(page: Page, address: str, name: str, room: str) -> None:
    """Enter a room of the chat."""
    page.goto(address)
    page.get_by_placeholder("Name").fill(name)
    page.get_by_placeholder("Room").fill(room)
    page.get_by_role("button", name="Enter").click()


def say(page: Page, text: str) -> None:
    """Send a message, and wait until it has been published."""
    page.get_by_placeholder("Text").fill(text)
    page.get_by_role("button", name="Say").click()
    expect(page.get_by_placeholder("Text")).to_have_value("")


@of("chat.py")
def test_chat(example: Example, browser: Browser) -> None:
    """A message reaches all others in the room, once, and no other room; a name can be used once."""
    pages = [browser.new_context().new_page() for _ in range(4)]
    alice, bob, carol, dave = pages
    with example:
        address = example.address()
        for page, name, room in ((alice, "alice", "lobby"), (bob, "bob", "lobby"), (carol, "carol", "attic")):
            enter(page, address, name, room)
        say(alice, "Hello")
        expect(bob.locator("li")).to_have_text(["alice: Hello"])
        say(bob, "<b>Hi</b>")
        expect(alice.locator("li")).to_have_text(["alice: Hello", "bob: <b>Hi</b>"])
        say(carol, "Anybody here?")
        expect(carol.locator("li")).to_have_text(["carol: Anybody here?"])
        enter(dave, address, "alice", "lobby")
        expect(dave.locator("#problem")).to_have_text("Somebody else is called alice.")
        enter(dave, address, "dave", "lobby")
        expect(dave.locator("li")).to_have_text(["alice: Hello", "bob: <b>Hi</b>"])
    for page in pages:
        page.context.close()


@of("dashboard.py")
def test_dashboard(example: Example, browser: Browser, folder: Path, notifier: NotifierClient) -> None:
    """New readings appear without a reload; a page opened later shows the same."""

    def publish(celsius: float) -> None:
        data = {"sensor": "cellar", "at": time.time(), "celsius": celsius}
        notifier.publish(to={"topics": ["readings"]}, data=data, retain="history", collapse_key="cellar")

    publish(11.25)
    with example:
        page = browser.new_page()
        page.goto(example.address())
        value = page.locator('[data-testid="stMetric"]', has_text="cellar")
        expect(value).to_contain_text("11.25", timeout=60_000)
        publish(12.5)
        expect(value).to_contain_text("12.50", timeout=60_000)
        expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=60_000)
        page.close()


@pytest.mark.parametrize("example", ["flask_orders.py", "fastapi_orders.py", "django_orders.py"], indirect=True)
def test_orders(example: Example, listen: Listen) -> None:
    """A committed order is published; one that is rolled back is not."""
    with listen("alice") as stream, example:
        example.address()
        curl = order(example)
        assert curl("item=Lamp") == "201"
        assert received(stream)["title"] == "We have your order: Lamp"
        assert curl("colour=red")[0] in "45"
        assert curl("item=Chair") == "201"
        assert received(stream)["title"] == "We have your order: Chair"


def order(example: Example) -> Callable[[str], str]:
    """Return a function that orders by the example's own command and returns the status."""
    [command] = re.findall(r"^\s*(curl .+)", example.path.read_text(), re.MULTILINE)

    def curl(item: str) -> str:
        arguments = shlex.split(command.replace("item=Lamp", item))
        options = ["-s", "-o", "/dev/null", "-w", "%{http_code}"]
        return processes.run([*arguments, *options], check=True, capture_output=True, text=True).stdout

    return curl


@of("fastapi_orders.py")
def test_outbox(example: Example, service: Service, listen: Listen) -> None:
    """Orders committed while the service was down are published later, once, also after a kill."""
    service.stop()
    with example:
        example.address()
        assert order(example)("item=Desk") == "201"
    service.start()
    with listen("alice") as stream, example:
        example.address()
        assert received(stream)["title"] == "We have your order: Desk"
        assert order(example)("item=Shelf") == "201"
        assert received(stream)["title"] == "We have your order: Shelf"
