"""Pages in a real Chromium without the library: EventSource and fetch, from several origins."""

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.kit.chromium import CHROMIUM
from tests.kit.processes import children
from tests.kit.service import Service
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

DATA = "frames_.filter((frame) => frame.type === 'notification').map((frame) => frame.notification.data)"
LISTEN = """([url, options]) => {
  window.frames_ = []; window.ids = []; window.opened = 0; window.errors = 0;
  window.source = new EventSource(url, options);
  source.onopen = () => opened++;
  source.onerror = () => errors++;
  source.onmessage = (event) => {
    const frame = JSON.parse(event.data);
    if (frame.type === "state") return; // comes at any time
    frames_.push(frame);
    ids.push(event.lastEventId);
  };
}"""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[list[str]]:
    """Two origins that serve an empty page."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


def open_page(context: BrowserContext, origin: str, service: Service, user: str = "") -> Page:
    """Return a page of an origin, with the cookie of the user if one is given."""
    if user:
        url = f"http://127.0.0.1:{service.port}"
        context.add_cookies([{"name": "notifier_token", "value": service.token(user, ["*"]), "url": url}])
    page = context.new_page()
    page.goto(origin)
    return page


def listen(page: Page, service: Service, query: str = "", **options: Any) -> None:
    page.evaluate(LISTEN, [f"http://127.0.0.1:{service.port}/v1/stream{query}", options])


def data(page: Page) -> list[Any]:
    return page.evaluate(DATA)


def own(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}/healthz"


def publish(service: Service, user: str, value: object) -> None:
    assert service.publish({"to": {"users": [user]}, "data": value}).status == 201


def test_event_source(context: BrowserContext, service: Service, user: str) -> None:
    """A page of the same origin listens with its cookie, and each event id is the cursor."""
    page = open_page(context, own(service), service, user)
    listen(page, service, f"?topic=t-{user}")
    page.wait_for_function("frames_.length")
    publish(service, user, "a\u2028b\nc")
    assert service.publish({"to": {"topics": [f"t-{user}"]}, "data": "topic"}).status == 201
    page.wait_for_function("frames_.length === 3")
    assert sorted(data(page)) == ["a\u2028b\nc", "topic"]
    assert page.evaluate("frames_.every((frame, index) => frame.cursor === ids[index])")


def test_event_source_comes_back(context: BrowserContext, user: str) -> None:
    """Over reloads of the service an EventSource reconnects and misses nothing."""
    with Service(workers=2) as service:
        page = open_page(context, own(service), service, user)
        listen(page, service)
        page.wait_for_function("frames_.length")
        sent = 0
        for _ in range(3):
            workers, before = children(service.pid), page.evaluate("opened")
            publish(service, user, sent)
            os.kill(service.pid, signal.SIGHUP)
            publish(service, user, sent + 1)
            sent += 2
            page.wait_for_function(f"opened > {before}")
            eventually(lambda workers=workers: not set(workers) & set(children(service.pid)))
            publish(service, user, sent)
            sent += 1
            page.wait_for_function(f"new Set({DATA}).size === {sent}")
            assert page.evaluate("source.readyState") != 2
        assert list(dict.fromkeys(data(page))) == list(range(sent))


def test_event_source_after_a_full_worker(context: BrowserContext, user: str) -> None:
    """An EventSource reconnects until a full worker accepts it."""
    with Service(workers=1, max_connections=1) as service:
        with service.client(user):
            page = open_page(context, own(service), service, user)
            listen(page, service)
            page.wait_for_function("frames_.some((frame) => frame.type === 'close' && frame.code === 4004)")
            assert page.evaluate("source.readyState") != 2
        page.wait_for_function("frames_.some((frame) => frame.type === 'welcome')")


def test_event_source_remembers_a_ping(context: BrowserContext, user: str) -> None:
    """A browser resumes from the id of a ping, which is not an event."""
    with Service(workers=1, heartbeat=1) as service:
        page = open_page(context, own(service), service, user)
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request))
        listen(page, service)
        page.wait_for_function("frames_.length")
        with service.connect() as witness:  # its pings come after those of the page
            witness.send("hello", token=service.token("witness"))
            cursor = witness.receive("welcome")["cursor"]
            while milliseconds(witness.receive("ping").get("cursor", "0-0")) < milliseconds(cursor) + 3000:
                pass
        os.kill(service.pid, signal.SIGHUP)
        page.wait_for_function("frames_.filter((frame) => frame.type === 'welcome').length > 1")
        resumed = asked[-1].all_headers()["last-event-id"]
        assert milliseconds(resumed) > milliseconds(page.evaluate("ids[0]"))
        publish(service, user, "after")
        page.wait_for_function(f"{DATA}.length > 0")


def milliseconds(cursor: str) -> int:
    return int(cursor.partition("-")[0])


def test_event_source_of_other_origins(context: BrowserContext, elsewhere: list[str], user: str) -> None:
    """An EventSource with credentials works from an allowed origin, and fails permanently from others."""
    allowed, foreign = elsewhere
    with Service(workers=1, allowed_origins=allowed) as service:
        page = open_page(context, allowed, service, user)
        listen(page, service, withCredentials=True)
        page.wait_for_function("frames_.length")
        publish(service, user, 1)
        page.wait_for_function("frames_.length === 2")
        stranger = open_page(context, foreign, service)
        listen(stranger, service, withCredentials=True)
        stranger.wait_for_function("source.readyState === 2")
        assert stranger.evaluate("[opened, frames_.length]") == [0, 0]


FETCH = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text(), response.headers.get("X-Request-Id") !== null];
  } catch (error) { return [0, String(error), false]; }
}"""


def test_fetch(context: BrowserContext, elsewhere: list[str], service: Service, user: str) -> None:
    """A page of any origin can poll and publish with a token in the header, and read problems."""
    page = open_page(context, elsewhere[1], service)
    url = f"http://127.0.0.1:{service.port}/v1/stream"
    headers = {
        "Authorization": f"Bearer {service.token(user, ['*'], publish=['*'])}",
        "Content-Type": "application/json",
    }
    status, text, _ = page.evaluate(FETCH, [url, {"headers": headers}])
    assert status == 200
    cursor = json.loads(text)["frames"][-1].get("cursor") or json.loads(text)["frames"][1]["cursor"]
    frame = {"type": "publish", "topic": user, "notification": {"data": 1}}
    status, text, _ = page.evaluate(FETCH, [url, {"method": "POST", "headers": headers, "body": json.dumps(frame)}])
    assert status == 200 and json.loads(text)["type"] == "ok"
    status, text, _ = page.evaluate(FETCH, [f"{url}?topic={user}&since={cursor}", {"headers": headers}])
    assert [f["notification"]["data"] for f in json.loads(text)["frames"] if f["type"] == "notification"] == [1]
    status, text, has_id = page.evaluate(FETCH, [url, {"headers": {"Authorization": "Bearer x"}}])
    assert (status, json.loads(text)["code"], has_id) == (401, "invalid_token", True)
    events = headers | {"Accept": "text/event-stream", "Last-Event-ID": cursor}
    first = """async ([url, options]) => {
      const response = await fetch(url, options);
      const { value } = await response.body.getReader().read();
      return [response.status, new TextDecoder().decode(value)];
    }"""
    status, text = page.evaluate(first, [url, {"headers": events}])
    assert status == 200 and "retry:" in text


def test_fetch_with_the_cookie_of_another_origin(
    context: BrowserContext, elsewhere: list[str], service: Service, user: str
) -> None:
    """A page of a foreign origin can neither read a stream nor publish with the user's cookie."""
    page = open_page(context, elsewhere[1], service, user)
    url = f"http://127.0.0.1:{service.port}/v1/stream"
    assert page.evaluate(FETCH, [url, {"credentials": "include"}])[0] == 0
    frame = json.dumps({"type": "publish", "topic": user, "notification": {"data": 1}})
    options = {"method": "POST", "credentials": "include", "mode": "no-cors", "body": frame}
    with page.expect_response(url) as answered:
        page.evaluate(FETCH, [url, options])
    assert answered.value.status == 403
