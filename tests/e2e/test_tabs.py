"""Tabs of a real Chromium share one connection, and lose nothing when it fails."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error

from tests.kit.chromium import CHROMIUM, WHOLE, Chromium, Tab, connections
from tests.kit.proxies import enemy, is_installed
from tests.kit.service import Service
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

NOTE_TAKEOVER = """() => {
  const { connection } = notifier;
  notifier.subscribe(() => {
    if (notifier.state === "connected" && notifier.connection !== connection) window.takeover ??= Date.now();
  });
}"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A separate service, so that its connections can be counted."""
    with Service() as service:
        yield service


@pytest.fixture
def context(browser: Browser, service: Service) -> Iterator[BrowserContext]:
    """A browser context without stored data."""
    with browser.new_context() as context:
        yield context
    eventually(lambda: connections(service) == 0)


@pytest.fixture
def whole_context(chromium: Chromium, service: Service) -> Iterator[BrowserContext]:
    """As `context`, of a browser that has the back/forward cache."""
    with chromium.whole() as browser, browser.new_context() as context:
        yield context
    eventually(lambda: connections(service) == 0)


def publish(service: Service, user: str, *titles: str) -> None:
    for title in titles:
        assert service.publish({"to": {"users": [user]}, "title": title}).status == 201


def test_ten_tabs_have_one_connection(context: BrowserContext, service: Service, user: str) -> None:
    """Every tab gets each notification, the service has one connection, and `perBrowser` callbacks run once."""
    tabs = [Tab(context, service, user).connected() for _ in range(10)]
    eventually(lambda: connections(service) == 1)
    assert len({tab.get("notifier.connection") for tab in tabs}) == 1
    publish(service, user, "one", "two", "three")
    for tab in tabs:
        tab.got(["one", "two", "three"])
    assert sum((tab.get("once") for tab in tabs), []) == ["one", "two", "three"]


def test_users_do_not_mix(context: BrowserContext, service: Service, user: str) -> None:
    """Tabs of two users in one browser have separate connections and notifications."""
    alice, bob = (Tab(context, service, name).connected() for name in (user, f"{user}-other"))
    eventually(lambda: connections(service) == 2)
    publish(service, user, "for alice")
    publish(service, f"{user}-other", "for bob")
    alice.got(["for alice"])
    bob.got(["for bob"])


@pytest.mark.parametrize("end", ["close", "crash"])
def test_the_leader_goes(
    context: BrowserContext, service: Service, user: str, end: str, record_property: Callable[[str, object], None]
) -> None:
    """When the tab with the connection closes or crashes, the others miss nothing and get nothing twice."""
    tabs = [Tab(context, service, user, topics=["orders"]).connected() for _ in range(10)]
    leader, *others = tabs
    titles = [f"number {number}" for number in range(150)]
    for tab in others:
        tab.page.evaluate(NOTE_TAKEOVER)
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publish, service, user, *titles)
        leader.wait("titles.length >= 50")
        gone = time.time()
        if end == "close":
            leader.page.close()
        else:
            crash(leader)
        publishing.result()
    for tab in others:
        tab.got(titles)
        tab.wait("window.takeover")
    eventually(lambda: connections(service) == 1)
    assert len({tab.get("notifier.connection") for tab in others}) == 1
    ms = max(tab.get("takeover") for tab in others) - 1000 * gone
    record_property("summary", f"leader's {end}: all nine other tabs are connected again after {ms:,.0f} of 1,000 ms")


def crash(tab: Tab) -> None:
    with tab.page.expect_event("crash"), contextlib.suppress(Error):
        tab.page.goto("chrome://crash", wait_until="commit")


@pytest.mark.skipif(WHOLE is None, reason="needs the whole Chromium")
def test_a_leader_goes_back_and_forth(whole_context: BrowserContext, service: Service, user: str) -> None:
    """A page in the back/forward cache hands its connection to another tab, and resumes when it is shown again."""
    leader, other = (Tab(whole_context, service, user).connected() for _ in range(2))
    first = other.get("notifier.connection")
    leader.page.evaluate("() => addEventListener('pageshow', ({ persisted }) => localStorage.persisted = persisted)")
    leader.page.evaluate("() => { location.href = '/healthz'; }")
    other.wait("notifier.state === 'connected' && notifier.connection !== value", first)
    publish(service, user, "while away")
    other.got(["while away"])
    leader.page.evaluate("() => history.back()")
    other.wait("localStorage.persisted === 'true'")
    leader.connected().got(["while away"])
    publish(service, user, "for both")
    leader.got(["while away", "for both"])
    other.got(["while away", "for both"])
    eventually(lambda: connections(service) == 1)


@pytest.mark.parametrize("transports", [["websocket"], ["poll"]])
def test_the_machine_sleeps(browser: Browser, user: str, transports: list[str]) -> None:
    """A browser that is suspended until the service closes its connection has missed nothing when it resumes.

    Not with Server-Sent Events: their clients send nothing, so the kernel of a suspended one still accepts data.
    """
    with Service(workers=1, heartbeat=1) as service, browser.new_context() as context:
        tabs = [Tab(context, service, user, transports=transports).connected() for _ in range(3)]
        publish(service, user, "before")
        for tab in tabs:
            tab.got(["before"])
        with asleep(browser):
            eventually(lambda: connections(service) == 0)
            publish(service, user, "meanwhile", "and then")
        for tab in tabs:
            tab.got(["before", "meanwhile", "and then"])
            tab.connected()


@contextlib.contextmanager
def asleep(browser: Browser) -> Iterator[None]:
    """Stop every process of a browser, as when a laptop is closed."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]

    def send(number: signal.Signals) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):  # that of a page of an earlier test may just be ending
                os.kill(process["id"], number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


def test_each_tab_has_its_topics(context: BrowserContext, service: Service, user: str) -> None:
    """A tab receives the topics that it joined; with `since`, only this tab gets the replay."""
    orders, invoices = Tab(context, service, user, topics=["orders"]), Tab(context, service, user)
    begin = orders.connected().get("notifier.cursor")
    invoices.connected()
    for title in ("first", "second"):
        assert service.publish({"to": {"topics": ["orders"]}, "title": f"{user} {title}"}).status == 201
    orders.got([f"{user} first", f"{user} second"])
    invoices.page.evaluate("(since) => notifier.join('orders', { since })", begin)
    invoices.got([f"{user} first", f"{user} second"])
    invoices.wait("replayed.length === 1")
    assert service.publish({"to": {"topics": ["orders"]}, "title": f"{user} third"}).status == 201
    for tab in (orders, invoices):
        tab.got([f"{user} first", f"{user} second", f"{user} third"])
    eventually(lambda: connections(service) == 1)


def test_a_reloaded_page_resumes(context: BrowserContext, service: Service, user: str) -> None:
    """With a storage, a reloaded page gets what the other tabs already have; the other tabs get nothing twice."""
    reader, away = (Tab(context, service, user).connected() for _ in range(2))
    cursor = away.get("notifier.cursor")
    away.page.close()
    publish(service, user, "meanwhile")
    reader.got(["meanwhile"])
    back = Tab(context, service, user)
    back.page.evaluate(
        """async ([cursor, token]) => {
          notifier.disconnect();
          titles.length = 0;
          sessionStorage.setItem("notifier.cursor", cursor);
          const { Notifier } = await import("/static/notifier.js");
          window.notifier = new Notifier({ getToken: async () => token, storage: sessionStorage });
          notifier.on("notification", ({ title }) => titles.push(title));
          notifier.connect();
        }""",
        [cursor, service.token(user)],
    )
    back.connected().got(["meanwhile"])
    publish(service, user, "later")
    back.got(["meanwhile", "later"])
    reader.got(["meanwhile", "later"])


@pytest.mark.parametrize("transports", [["websocket"], ["sse"], ["poll"]])
def test_a_tab_publishes(context: BrowserContext, service: Service, user: str, transports: list[str]) -> None:
    """A publication of a tab reaches the others, and itself only with echo; a forbidden one is rejected."""
    options = {"topics": ["orders", "invoices"], "transports": transports}
    leader, follower = (Tab(context, service, user, **options).connected() for _ in range(2))
    for number, tab in enumerate((leader, follower)):
        title = f"{user} {number}"
        answer = tab.page.evaluate("(title) => notifier.publish('orders', { title })", title)
        assert set(answer) == {"id", "cursor"}
        for reader in (leader, follower):
            reader.wait("titles.includes(value)", title)
        tab.page.evaluate("(title) => notifier.publish('orders', { title }, { echo: false })", f"{title} silent")
        tab.page.evaluate("(title) => notifier.publish('orders', { title })", f"{title} loud")
        tab.wait("titles.includes(value)", f"{title} loud")
        assert f"{title} silent" not in tab.get("titles")
    follower.wait("titles.includes(value)", f"{user} 0 silent")
    leader.wait("titles.includes(value)", f"{user} 1 silent")
    refused = follower.page.evaluate("() => notifier.publish('invoices', { title: 'no' }).catch(({ code }) => code)")
    assert refused == "forbidden"
    assert follower.get("problems") == []


@pytest.mark.parametrize("transports", [["websocket"], ["sse"], ["poll"]])
def test_a_bad_publication_fails_alone(
    context: BrowserContext, service: Service, user: str, transports: list[str]
) -> None:
    """A notification that has no JSON, or is too long for the service, is rejected alone; no tab misses anything."""
    tabs = [Tab(context, service, user, topics=["orders"], transports=transports).connected() for _ in range(2)]
    for tab in tabs:
        assert (
            tab.page.evaluate("() => notifier.publish('orders', { data: 5n }).catch(({ name }) => name)") == "TypeError"
        )
        assert tab.page.evaluate("() => notifier.publish('a b', {}).catch(({ name }) => name)") == "TypeError"
        refused = "() => notifier.publish('orders', { body: 'x'.repeat(100_000) }).catch(({ code }) => code)"
        assert tab.page.evaluate(refused) == "body_too_large"
        answer = tab.page.evaluate(
            "(link) => notifier.publish('orders', { title: link, data: { link: new URL(link) } })", f"http://{user}/"
        )
        assert set(answer) == {"id", "cursor"}
    expected = [f"http://{user}/", f"http://{user}/", f"{user} after"]
    for tab in tabs:  # notifications of another channel may overtake these
        tab.wait("titles.filter((title) => title === value).length > 1", expected[0])
    publish(service, user, expected[-1])
    for tab in tabs:
        tab.wait("titles.includes(value)", expected[-1])
        assert [
            title for title in tab.get("titles") if user in title
        ] == expected  # the topic is that of other tests, too
        assert tab.connected().get("problems") == []
    tabs[0].page.close()
    publish(service, user, f"{user} last")
    tabs[1].wait("titles.includes(value)", f"{user} last")
    assert [title for title in tabs[1].get("titles") if user in title] == [*expected, f"{user} last"]


@pytest.mark.parametrize("transports", [None, ["sse"], ["poll"]], ids=["any", "sse", "poll"])
def test_a_restart(browser: Browser, user: str, transports: list[str] | None) -> None:
    """After a restart of the service tabs reconnect and miss nothing, on the same transport if there is only one.

    WebSockets that fail twice just before the service is ready count as blocked, so the next transport may be used.
    """
    options: dict[str, Any] = {"transports": transports} if transports else {}
    with Service(workers=1) as service, browser.new_context() as context:
        tabs = [Tab(context, service, user, **options).connected() for _ in range(2)]
        transport = tabs[0].get("notifier.getSnapshot().transport")
        publish(service, user, "before")
        tabs[1].got(["before"])
        service.stop()
        tabs[1].wait("notifier.state !== 'connected'")
        service.start()
        publish(service, user, "after")
        for tab in tabs:
            tab.got(["before", "after"])
            now = tab.connected().get("notifier.getSnapshot().transport")
            assert now == transport or not transports


@pytest.mark.skipif(not is_installed("nginx"), reason="needs nginx")
@pytest.mark.parametrize("buffers, transport", [(False, "sse"), (True, "poll")])
@pytest.mark.parametrize("upgrades", ["stripped", "400", "426"])
def test_behind_a_proxy(
    context: BrowserContext, service: Service, user: str, upgrades: Any, buffers: bool, transport: str
) -> None:
    """Behind a proxy without WebSockets the next transport works, and is remembered."""
    tried: list[str] = []
    context.on("page", lambda page: page.on("websocket", lambda socket: tried.append(socket.url)))
    with enemy(service.port, upgrades, buffers) as proxy:
        leader = Tab(context, service, user, proxy.port, topics=["orders"]).connected()
        assert leader.get("notifier.getSnapshot().transport") == transport
        assert len(tried) == 2
        follower = Tab(context, service, user, proxy.port).connected()
        titles = [f"number {number}" for number in range(30)]
        publish(service, user, *titles[:10])
        follower.got(titles[:10])
        leader.page.close()
        publish(service, user, *titles[10:20])
        follower.wait("titles.length >= 20")
        publish(service, user, *titles[20:])
        follower.got(titles)
        assert len(tried) == 2
        assert follower.get("notifier.getSnapshot().transport") == transport
        follower.page.close()
