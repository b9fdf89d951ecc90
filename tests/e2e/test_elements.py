"""The bell, the inbox and the toasts in a real Chromium with a real service."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from tests.kit.chromium import CHROMIUM, check_accessibility, needs_axe, until
from tests.kit.service import Service
from tests.kit.waiting import eventually

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

_START = """async ([token, options, texts]) => {
  const [{ Notifier }] = await Promise.all([import("/static/notifier.js"), import("/static/notifier-inbox.js")]);
  window.violations = [];
  document.addEventListener("securitypolicyviolation", ({ violatedDirective }) => violations.push(violatedDirective));
  window.notifier = new Notifier({ getToken: async () => token, ...options });
  const main = document.createElement("main");
  main.append(Object.assign(document.createElement("h1"), { textContent: "A page" }));
  main.append(...["bell", "inbox", "toasts"].map((name) => {
    const element = document.createElement(`notifier-${name}`);
    return Object.assign(element, { notifier, texts });
  }));
  document.body.replaceChildren(main);
}"""


class Tab:
    """A page of a user with all three elements."""

    def __init__(
        self, context: BrowserContext, service: Service, user: str, texts: Any = None, connects: bool = True
    ) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"http://127.0.0.1:{service.port}/docs/errors")
        token = service.token(user, ["orders"])
        self.page.evaluate(_START, [token, {"topics": ["orders"]}, texts or {}])
        if connects:
            self.page.evaluate("notifier.connect()")
            until(self.page, "notifier.state === 'connected'")
        self.bell = self.page.locator("notifier-bell > button, notifier-bell [part=button]")
        self.panel = self.page.locator("notifier-bell [part=panel]")
        self.inbox = self.page.locator("main > notifier-inbox")
        self.toasts = self.page.locator("notifier-toasts li")

    def freeze(self) -> None:
        """Stop the clock of the page, so that no timer fires on a busy machine before `page.clock.run_for`."""
        self.page.clock.install()
        self.page.clock.pause_at(self.page.evaluate("Date.now()") / 1000 + 1)

    def titles(self) -> Locator:
        """The titles of the inbox that is on the page."""
        return self.inbox.locator("li [part=title]")

    def item(self, title: str) -> Locator:
        """An item of the inbox that is on the page."""
        return self.inbox.locator("li", has_text=title)

    def act(self, title: str, action: str) -> None:
        """Press a button of an item."""
        self.item(title).hover()
        self.item(title).get_by_role("button", name=f"{action}: {title}").click()

    def filter(self, name: str) -> None:
        """Show other items."""
        self.inbox.get_by_role("button", name=name, exact=True).click()

    def focused(self) -> str:
        """Return the accessible name of the focused element."""
        return self.page.evaluate(
            """() => {
              let { activeElement: element } = document;
              while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
              return element.getAttribute("aria-label") ?? element.textContent;
            }"""
        )


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def tab(context: BrowserContext, service: Service, user: str) -> Iterator[Tab]:
    """A page of the user. No error and no violation of the security policy occurs there."""
    tab = Tab(context, service, user)
    yield tab
    assert tab.errors == []
    assert tab.page.evaluate("violations") == []


def publish(service: Service, user: str, *titles: str, **members: Any) -> str:
    """Publish notifications to a user, and return the id of the last."""
    for title in titles:
        answer = service.publish({"to": {"users": [user]}, "title": title, **members})
        assert answer.status == 201, answer
    return str(answer.json["id"])


def _refuse(route: Route) -> None:
    """Answer a request with a server error."""
    route.fulfill(status=500, body=json.dumps({"code": "internal_error", "title": "A fault"}))


def test_arrival(tab: Tab, service: Service, user: str) -> None:
    """A notification appears in the list, in a toast, on the badge and in the bell's name, and is announced."""
    expect(tab.bell).to_have_accessible_name("Notifications")
    publish(service, user, "First", "Second", body="The body")
    expect(tab.titles()).to_have_text(["Second", "First"])
    expect(tab.toasts.locator("[part=title]")).to_have_text(["Second", "First"])
    expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")
    expect(tab.page.locator("notifier-bell [part=badge]")).to_have_text("2")
    expect(tab.page.locator("notifier-bell [role=status]").first).to_have_text("Notifications, 2 unread")
    expect(tab.page.locator("notifier-toasts [role=status]")).to_have_text("Second. The body")
    expect(tab.inbox.locator("time").first).to_have_text("now")


def test_two_browsers(browser: Browser, service: Service, user: str) -> None:
    """Actions in one browser appear in the other, with the same counts."""
    with browser.new_context() as home, browser.new_context() as work:
        one, other = (Tab(context, service, user) for context in (home, work))
        publish(service, user, "First", "Second", "Third")
        for tab in (one, other):
            expect(tab.titles()).to_have_count(3)
        other.filter("Unread")
        one.act("Second", "Mark as read")
        expect(other.titles()).to_have_text(["Third", "First"])
        for tab in (one, other):
            expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")
        other.act("Third", "Archive")
        expect(one.titles()).to_have_text(["Second", "First"])
        one.act("Second", "Mark as unread")
        expect(other.titles()).to_have_text(["Second", "First"])
        other.inbox.get_by_role("button", name="Mark all as read").click()
        expect(other.titles()).to_have_count(0)
        expect(one.inbox.locator("[part~=unread]")).to_have_count(0)
        for tab in (one, other):
            expect(tab.bell).to_have_accessible_name("Notifications")


def test_keyboard(tab: Tab, service: Service, user: str) -> None:
    """The keyboard reaches everything, and the focus is never lost."""
    publish(service, user, *[f"Number {number}" for number in range(25)], severity="critical")
    expect(tab.toasts).to_have_count(3)
    expect(tab.bell).to_have_accessible_name("Notifications, 25 unread")
    page, press = tab.page, tab.page.keyboard.press
    page.evaluate("document.querySelector('main > notifier-inbox').remove()")
    press("Tab")
    assert tab.focused() == "Notifications, 25 unread"
    press("Enter")
    expect(tab.panel).to_be_visible()
    titles = tab.panel.locator("li [part=title]")
    expect(titles).to_have_count(20)
    for name in ("Close", "All", "Unread", "Archived", "Mark all as read", "Number 24"):
        press("Tab")
        assert tab.focused() == name
    press("ArrowDown")
    assert tab.focused() == "Number 23"
    press("Enter")  # marks it as read
    expect(tab.bell).to_have_accessible_name("Notifications, 24 unread")
    expect(tab.panel).not_to_be_visible()
    assert tab.focused() == "Notifications, 24 unread"
    press("Space")
    expect(titles).to_have_count(20)
    for _ in range(6):
        press("Tab")
    press("ArrowDown")
    press("ArrowDown")
    assert tab.focused() == "Number 22"
    press("Tab")
    assert tab.focused() == "Mark as read: Number 22"
    press("Enter")
    expect(tab.bell).to_have_accessible_name("Notifications, 23 unread")
    eventually(lambda: tab.focused() == "Number 22")  # its button is gone
    press("Tab")
    assert tab.focused() == "Mark as unread: Number 22"
    press("Enter")
    expect(tab.bell).to_have_accessible_name("Notifications, 24 unread")
    press("Tab")
    press("Tab")
    assert tab.focused() == "Archive: Number 22"
    press("Enter")
    expect(tab.bell).to_have_accessible_name("Notifications, 23 unread")
    eventually(lambda: tab.focused() == "Archive: Number 21")  # the item in its place
    expect(titles).to_have_count(20)
    press("End")
    expect(titles).to_have_count(24)  # near the end, more items are loaded
    press("End")
    assert tab.focused() == "Number 0"
    press("Home")
    assert tab.focused() == "Number 24"
    for _ in range(2):
        press("Shift+Tab")
    assert tab.focused() == "Archived"
    press("Enter")
    expect(titles).to_have_text(["Number 22"])
    press("Tab")  # nothing can be marked as read
    assert tab.focused() == "Number 22"
    press("Tab")
    press("Tab")
    assert tab.focused() == "Move back to the inbox: Number 22"
    press("Enter")
    expect(titles).to_have_count(0)
    press("Shift+Tab")
    press("Shift+Tab")
    assert tab.focused() == "Unread"
    press("Enter")
    expect(titles).to_have_count(20)
    for _ in range(2):
        press("Tab")
    assert tab.focused() == "Mark all as read"
    press("Enter")
    expect(tab.bell).to_have_accessible_name("Notifications")
    expect(tab.toasts).to_have_count(0)
    expect(titles).to_have_count(0)
    press("Escape")
    expect(tab.panel).not_to_be_visible()
    assert tab.focused() == "Notifications"
    publish(service, user, "Critical", "As critical", severity="critical")
    expect(tab.toasts).to_have_count(2)
    expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")
    press("Tab")
    assert tab.focused() == "As critical"
    press("Escape")
    expect(tab.toasts).to_have_count(1)
    assert tab.focused() == "Dismiss"
    press("Enter")
    expect(tab.toasts).to_have_count(0)
    assert tab.focused() == "Notifications, 2 unread"  # where the focus was before


def test_open(tab: Tab, service: Service, user: str) -> None:
    """A click on a title follows the action URL and marks it as read; a page may handle the click itself."""
    publish(service, user, "Order", action_url="/healthz")
    publish(service, user, "Nowhere")
    link = tab.item("Order").get_by_role("link", name="Order")
    expect(link).to_have_attribute("href", "/healthz")
    expect(tab.item("Nowhere").get_by_role("button", name="Nowhere", exact=True)).to_be_visible()
    tab.page.evaluate(
        """() => addEventListener("notifier-open", (event) => {
          window.opened = event.detail.notification.title;
          event.preventDefault();
        })"""
    )
    link.click()
    assert tab.page.evaluate("opened") == "Order"
    expect(tab.item("Order").locator("[part=dot]")).to_have_count(0)
    expect(tab.bell).to_have_accessible_name("Notifications, 1 unread")
    assert tab.page.url.endswith("/docs/errors")


def test_no_title(tab: Tab, service: Service, user: str) -> None:
    """A notification without a title, or with an empty one, has a name."""
    publish(service, user, "", body="The body")
    publish(service, user, " ", body="The body", type="chat.said")
    for titles in (tab.titles(), tab.toasts.locator("[part=title]")):
        expect(titles).to_have_text(["chat.said", "Notification"])
    expect(tab.inbox.get_by_role("button", name="Archive: Notification")).to_have_count(1)


def test_leaving_reads(context: BrowserContext, service: Service, user: str) -> None:
    """A click that leaves the page marks the notification as read."""
    tab = Tab(context, service, user)
    publish(service, user, "Order", action_url="/healthz")
    tab.toasts.get_by_role("link", name="Order").click()
    tab.page.wait_for_url("**/healthz")
    witness = Tab(context, service, user)
    expect(witness.item("Order")).to_have_count(1)
    expect(witness.item("Order").locator("[part=dot]")).to_have_count(0)


def test_what_goes(tab: Tab, service: Service, user: str) -> None:
    """Recalled and expired notifications disappear everywhere; a replacement moves to the top."""
    mistake = publish(service, user, "A mistake")
    publish(service, user, "40 %", collapse_key="upload")
    publish(service, user, "Between")
    expect(tab.titles()).to_have_text(["Between", "40 %", "A mistake"])
    publish(service, user, "80 %", collapse_key="upload")
    expect(tab.titles()).to_have_text(["80 %", "Between", "A mistake"])
    expect(tab.toasts.filter(has_text="40 %")).to_have_count(0)
    service.recall(mistake)
    expect(tab.titles()).to_have_text(["80 %", "Between"])
    expect(tab.toasts.filter(has_text="A mistake")).to_have_count(0)
    publish(service, user, "For a moment", ttl=4)
    expect(tab.titles()).to_have_text(["For a moment", "80 %", "Between"])
    expect(tab.titles()).to_have_text(["80 %", "Between"])
    expect(tab.toasts.filter(has_text="For a moment")).to_have_count(0)
    expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")


def test_what_belongs(tab: Tab, service: Service, user: str) -> None:
    """The list has only inbox notifications, including those of topics that the user is a member of."""
    key = {"Authorization": f"Bearer {service.api_key}"}
    tab.page.evaluate(
        """() => {
          window.heard = [];
          notifier.on("notification", ({ title }) => heard.push(title));
        }"""
    )
    publish(service, user, "For a dashboard", retain="history")
    expect(tab.toasts.filter(has_text="For a dashboard")).to_have_count(1)
    assert service.publish({"to": {"topics": ["orders"]}, "title": "Before"}).status == 201
    topic = f"news-{user}"
    assert service.request("PUT", f"/v1/topics/{topic}/members/{user}", headers=key).status == 204
    eventually(lambda: tab.page.evaluate("notifier.inbox.memberships")[:1] == [topic])
    assert service.publish({"to": {"topics": [topic]}, "title": "For members"}).status == 201
    eventually(lambda: {"Before", "For members"} <= set(tab.page.evaluate("heard")))
    expect(tab.titles()).to_have_text(["For members"])
    assert service.request("DELETE", f"/v1/topics/{topic}/members/{user}", headers=key).status == 204
    expect(tab.titles()).to_have_count(0)


def test_seen(tab: Tab, service: Service, user: str) -> None:
    """Items in a visible list become seen; a bell can count the unseen ones."""
    page = tab.page
    page.evaluate("document.querySelector('main > notifier-inbox').remove()")
    page.evaluate("document.querySelector('notifier-bell').setAttribute('count', 'unseen')")
    publish(service, user, "First", "Second")
    expect(tab.bell).to_have_accessible_name("Notifications, 2 new")
    tab.bell.click()
    expect(tab.panel.locator("li")).to_have_count(2)
    expect(tab.bell).to_have_accessible_name("Notifications")
    expect(tab.panel.locator("[part~=unread]")).to_have_count(2)
    publish(service, user, "Third")
    expect(tab.panel.locator("li")).to_have_count(3)
    expect(tab.bell).to_have_accessible_name("Notifications")


def test_many(context: BrowserContext, service: Service, user: str) -> None:
    """Scrolling loads older items; the focus stays when a notification arrives."""
    publish(service, user, *[f"Number {number}" for number in range(45)])
    tab = Tab(context, service, user)
    tab.page.evaluate("document.querySelector('main').style.setProperty('--notifier-list-height', '20rem')")
    expect(tab.titles()).to_have_count(20)
    expect(tab.titles()).to_have_count(20)
    scroller = tab.inbox.locator("[part=scroller]")
    for count in (40, 45):
        scroller.evaluate("(element) => element.scrollTo(0, element.scrollHeight)")
        expect(tab.titles()).to_have_count(count)
    expect(tab.inbox.get_by_role("button", name="Show more")).not_to_be_visible()
    tab.titles().nth(30).focus()
    publish(service, user, "Another one")
    expect(tab.titles()).to_have_count(46)
    assert tab.focused() == "Number 14"


def test_more(context: BrowserContext, service: Service, user: str) -> None:
    """In a list that does not scroll, a button loads older items, and the first of them gets the focus."""
    publish(service, user, *[f"Number {number}" for number in range(41)])
    tab = Tab(context, service, user)
    more = tab.inbox.get_by_role("button", name="Show more")
    for count, first in ((40, "Number 20"), (41, "Number 0")):
        more.press("Enter")
        expect(tab.titles()).to_have_count(count)
        eventually(lambda first=first: tab.focused() == first)
    expect(more).not_to_be_visible()


def test_more_than_nothing(context: BrowserContext, service: Service, user: str) -> None:
    """When all visible items have disappeared, the list is not called empty before older items are loaded."""
    publish(service, user, *[f"Number {number}" for number in range(21)])
    tab = Tab(context, service, user, connects=False)  # a connected page would fetch again
    tab.filter("Unread")
    expect(tab.titles()).to_have_count(20)
    held: list[Route] = []
    tab.page.route("**/v1/inbox?*", lambda route: held.append(route))
    with tab.page.expect_request("**/v1/inbox?*"), tab.page.expect_response("**/v1/inbox/read"):
        tab.inbox.get_by_role("button", name="Mark all as read").click()
    expect(tab.titles()).to_have_count(0)
    expect(tab.inbox.get_by_text("All read.")).not_to_be_visible()
    tab.inbox.get_by_role("button", name="Show more").click()
    held[0].continue_()
    expect(tab.inbox.get_by_text("All read.")).to_be_visible()
    expect(tab.inbox.get_by_role("button", name="Show more")).not_to_be_visible()
    assert tab.errors == []


def test_away(tab: Tab, service: Service, user: str) -> None:
    """Missed notifications appear in the list and as one toast."""
    tab.page.evaluate("notifier.disconnect()")
    publish(service, user, "First", "Second", "Third")
    tab.page.evaluate("notifier.connect()")
    expect(tab.toasts).to_have_text(["Info3 notifications while you were away"])
    publish(service, user, "Now")
    now = tab.toasts.filter(has_text="Now")
    expect(now).to_be_visible()
    expect(tab.titles()).to_have_text(["Now", "Third", "Second", "First"])
    now.get_by_role("button", name="Dismiss").click()
    expect(tab.bell).to_have_accessible_name("Notifications, 4 unread")


def test_toasts_wait(tab: Tab, service: Service, user: str) -> None:
    """A toast disappears after its time, but not under the pointer or with focus; critical toasts stay."""
    page = tab.page
    tab.freeze()
    publish(service, user, "Critical", severity="critical")
    publish(service, user, *[f"Number {number}" for number in range(5)])
    expect(tab.toasts.locator("[part=title]")).to_have_text(["Number 4", "Number 3", "Number 2", "Critical"])
    tab.toasts.first.hover()
    page.clock.run_for(20_000)
    expect(tab.toasts).to_have_count(4)
    page.mouse.move(0, 0)
    page.clock.run_for(20_000)
    expect(tab.toasts).to_have_text(["CriticalCritical"])
    publish(service, user, "With focus")
    expect(tab.toasts).to_have_count(2)
    tab.toasts.get_by_role("button", name="Dismiss").first.focus()
    page.clock.run_for(20_000)
    expect(tab.toasts).to_have_count(2)
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(20_000)
    expect(tab.toasts).to_have_count(1)


def test_critical_toasts(tab: Tab, service: Service, user: str) -> None:
    """Three critical toasts are shown and keep their places; the others are counted, announced, and appear in order."""
    titles, waiting = tab.toasts.locator("[part=title]"), tab.page.locator("notifier-toasts [part=waiting]")
    last = publish(service, user, *[f"Number {number}" for number in range(6)], severity="critical")
    expect(titles).to_have_text(["Number 2", "Number 1", "Number 0"])
    expect(waiting).to_have_text("and 3 more")
    expect(tab.page.locator("notifier-toasts [role=alert]")).to_have_text("Number 5")
    tab.toasts.get_by_role("button", name="Dismiss").first.focus()
    tab.page.keyboard.press("Escape")
    expect(titles).to_have_text(["Number 3", "Number 1", "Number 0"])
    assert tab.focused() == "Dismiss"
    expect(waiting).to_have_text("and 2 more")
    headers = {"Authorization": f"Bearer {service.api_key}"}
    assert service.request("DELETE", f"/v1/notifications/{last}", headers=headers).status == 204
    expect(waiting).to_have_text("and 1 more")
    expect(tab.titles()).to_have_count(5)  # what has not arrived in the list is not meant
    tab.inbox.get_by_role("button", name="Mark all as read").click()
    expect(tab.toasts).to_have_count(0)
    expect(waiting).not_to_be_visible()


def test_toasts_wait_for_no_finger(browser: Browser, service: Service, user: str) -> None:
    """Dismissing a toast with a tap does not stop the timers of the others."""
    with browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 400, "height": 700}) as context:
        tab = Tab(context, service, user)
        tab.freeze()
        publish(service, user, "First", "Second", "Third")
        expect(tab.toasts).to_have_count(3)
        for left in (2, 1):
            tab.toasts.get_by_role("button", name="Dismiss").first.tap()
            expect(tab.toasts).to_have_count(left)
        publish(service, user, "Later")
        expect(tab.toasts).to_have_count(2)
        tab.page.clock.run_for(20_000)
        expect(tab.toasts).to_have_count(0)


def test_toasts_wait_for_no_mouse_that_left(tab: Tab, service: Service, user: str) -> None:
    """Dismissing a toast with a click returns the focus to where it was."""
    tab.freeze()
    tab.bell.focus()
    publish(service, user, "First", "Second")
    expect(tab.toasts).to_have_count(2)
    expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")
    tab.toasts.get_by_role("button", name="Dismiss").first.click()
    expect(tab.toasts).to_have_count(1)
    assert tab.focused() == "Notifications, 2 unread"
    tab.page.mouse.move(0, 0)
    tab.page.clock.run_for(20_000)
    expect(tab.toasts).to_have_count(0)


def test_toast_of_ones_own(tab: Tab, service: Service, user: str) -> None:
    """A page can prevent a toast."""
    tab.page.evaluate(
        """() => addEventListener("notifier-toast", (event) => {
          if (event.detail.notification.type === "chat") event.preventDefault();
        })"""
    )
    publish(service, user, "In the chat", type="chat", severity="critical")  # a critical toast stays
    publish(service, user, "Elsewhere", severity="critical")
    expect(tab.titles()).to_have_text(["Elsewhere", "In the chat"])
    expect(tab.toasts.locator("[part=title]")).to_have_text(["Elsewhere"])


def test_refused(tab: Tab, service: Service, user: str) -> None:
    """A failed action is rolled back, with a message until the next action."""
    publish(service, user, "First", "Second")
    expect(tab.titles()).to_have_text(["Second", "First"])
    tab.page.route("**/v1/inbox/archive", _refuse)
    with tab.page.expect_response("**/v1/inbox?*"):  # the list is fetched again
        tab.act("First", "Archive")
    publish(service, user, "Third")
    expect(tab.titles()).to_have_text(["Third", "Second", "First"])
    expect(tab.inbox.get_by_role("status")).to_have_text("That did not work, please try again.")
    tab.page.unroute("**/v1/inbox/archive")
    tab.act("First", "Archive")
    expect(tab.titles()).to_have_text(["Third", "Second"])
    expect(tab.inbox.get_by_role("status")).to_have_text("")


@pytest.mark.parametrize(
    ("action", "path", "status"), [("Mark as unread", "unread", "All"), ("Move back", "unarchive", "Archived")]
)
def test_refused_to_bring_back(tab: Tab, service: Service, user: str, action: str, path: str, status: str) -> None:
    """Failed actions that do not concern toasts are also rolled back."""
    publish(service, user, "First")
    expect(tab.titles()).to_have_text(["First"])
    tab.act("First", "Mark as read" if status == "All" else "Archive")
    tab.filter(status)
    expect(tab.inbox.locator("[part=item]")).to_have_count(1)
    tab.page.route(f"**/v1/inbox/{path}", _refuse)
    with tab.page.expect_response(f"**/v1/inbox/{path}"):
        tab.item("First").hover()
        tab.item("First").get_by_role("button", name=action).click()
    expect(tab.inbox.get_by_role("status")).to_have_text("That did not work, please try again.")
    expect(tab.inbox.locator("[part=item]")).to_have_count(1)


def test_unavailable(context: BrowserContext, service: Service, user: str) -> None:
    """A list that cannot be fetched shows a message and a button to retry."""
    publish(service, user, "First")

    def refuse(route: Route) -> None:
        route.abort()

    context.route("**/v1/inbox?*", refuse)
    tab = Tab(context, service, user, connects=False)  # a connected page would retry
    expect(tab.inbox.get_by_role("status")).to_have_text("The notification service cannot be reached.")
    context.unroute("**/v1/inbox?*", refuse)
    tab.inbox.get_by_role("button", name="Try again").click()
    expect(tab.titles()).to_have_text(["First"])
    expect(tab.inbox.get_by_role("status")).to_have_text("")


def test_all_of_what(context: BrowserContext, service: Service, user: str) -> None:
    """All can be marked as read only after the list was fetched."""
    publish(service, user, "First")
    context.route("**/v1/inbox?*", _refuse)
    tab = Tab(context, service, user)
    read_all = tab.inbox.get_by_role("button", name="Mark all as read")
    expect(tab.bell).to_have_accessible_name("Notifications, 1 unread")
    expect(read_all).not_to_be_visible()
    context.unroute("**/v1/inbox?*")
    publish(service, user, "Second")
    expect(tab.titles()).to_have_text(["Second", "First"])
    read_all.click()
    expect(tab.bell).to_have_accessible_name("Notifications")


def test_no_notifier(context: BrowserContext, service: Service, user: str) -> None:
    """Without a Notifier the elements are empty and send no requests; one set before their definition is used."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{service.port}/docs/errors")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    start = """async (token) => {
      const bell = document.createElement("notifier-bell");
      document.body.append(bell, document.createElement("notifier-inbox"));
      const { Notifier } = await import("/static/notifier.js");
      window.notifier = new Notifier({ getToken: () => token });
      if (token) bell.notifier = notifier;
      await import("/static/notifier-inbox.js");
      const elements = [...document.querySelectorAll("notifier-bell, notifier-inbox")];
      return elements.map(({ shadowRoot }) => shadowRoot?.childElementCount);
    }"""
    assert page.evaluate(start, "") == [None, None]
    assert not [url for url in asked if "/v1/" in url]
    page.reload()
    assert page.evaluate(start, service.token(user)) == [3, None]


def test_a_notifier_that_goes(tab: Tab, service: Service, user: str) -> None:
    """An element that loses its Notifier closes and drops pending answers; it can get another."""
    publish(service, user, "First")
    expect(tab.titles()).to_have_text(["First"])
    held: list[Route] = []
    tab.page.route("**/v1/inbox?status=unread*", lambda route: held.append(route))
    with tab.page.expect_request("**/v1/inbox?status=unread*"):
        tab.filter("Unread")
    told = tab.page.evaluate(
        """() => {
          const told = [];
          const bell = document.querySelector("notifier-bell");
          bell.addEventListener("notifier-toggle", ({ detail }) => told.push(detail.open));
          bell.show();
          for (const element of document.querySelectorAll("main > :not(h1)")) element.notifier = undefined;
          bell.show();
          return [bell.open, ...told];
        }"""
    )
    assert told == [False, True, False]
    with tab.page.expect_response("**/v1/inbox?status=unread*"):
        held[0].continue_()
    tab.page.unroute("**/v1/inbox?status=unread*")
    tab.page.evaluate(
        "() => document.querySelectorAll('main > :not(h1)').forEach((element) => (element.notifier = notifier))"
    )
    expect(tab.titles()).to_have_text(["First"])
    tab.bell.click()
    expect(tab.panel.locator("li [part=title]")).to_have_text(["First"])


def test_languages_and_sides(context: BrowserContext, service: Service, user: str) -> None:
    """Texts, plurals, numbers and ages follow the page's language; a right-to-left page is mirrored."""
    texts = {
        "title": "الإشعارات",
        "unreadLabel": {"0": "الإشعارات", "two": "إشعاران", "other": "{count} إشعارات"},
        "all": "الكل",
    }
    tab = Tab(context, service, user, texts)
    tab.page.evaluate(
        """() => {
          Object.assign(document.documentElement, { lang: "ar-EG", dir: "rtl" });
          const main = document.querySelector("main");
          document.body.replaceChildren(main);
        }"""
    )
    publish(service, user, "الأول", "الثاني")
    expect(tab.bell).to_have_accessible_name("إشعاران")
    publish(service, user, "الثالث")
    expect(tab.bell).to_have_accessible_name("٣ إشعارات")
    expect(tab.inbox.locator("time").first).to_have_text("الآن")
    expect(tab.inbox.get_by_role("button", name="الكل")).to_be_visible()
    icon, title = (tab.item("الثالث").locator(f"[part={part}]").bounding_box() for part in ("severity", "title"))
    assert icon and title and icon["x"] > title["x"] + title["width"] - 1
    tab.bell.click()
    box, width = tab.panel.bounding_box(), tab.page.viewport_size
    assert box and width and box["x"] >= 0 and box["x"] + box["width"] <= width["width"]


_EDGES = """(selector) => {
  // Where the first and the last character of a text are drawn.
  const root = document.querySelector("main > notifier-inbox").shadowRoot;
  const { firstChild: text } = root.querySelector(selector);
  return [0, text.length - 1].map((index) => {
    const range = document.createRange();
    range.setStart(text, index);
    range.setEnd(text, index + 1);
    return range.getBoundingClientRect().x;
  });
}"""


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize(("title", "is_rtl"), [("وصل طلبك!", True), ("Your order is here!", False)])
@pytest.mark.parametrize("kind", ["link", "button"])
def test_direction_of_texts(
    context: BrowserContext, service: Service, user: str, direction: str, title: str, is_rtl: bool, kind: str
) -> None:
    """A title and a body have the direction of their language, and are aligned as the page is."""
    tab = Tab(context, service, user)
    tab.page.evaluate("(dir) => (document.documentElement.dir = dir)", direction)
    publish(service, user, title, body=title, **({"action_url": "/healthz"} if kind == "link" else {}))
    expect(tab.titles()).to_have_text([title])
    lefts = []
    for part in ("title", "body"):
        first, last = tab.page.evaluate(_EDGES, f"[part={part}]")
        assert (first > last) is is_rtl
        lefts.append(min(first, last))
    assert abs(lefts[0] - lefts[1]) < 30  # aligned alike, though their fonts differ
    width = tab.page.viewport_size
    assert width and (lefts[0] > width["width"] / 2) is (direction == "rtl")


def test_one_of_each(context: BrowserContext, service: Service, user: str) -> None:
    """A page load fetches one token and the list once. Notifications need no request but one that they are seen."""
    publish(service, user, "First")
    tab = Tab(context, service, user, connects=False)
    expect(tab.titles()).to_have_text(["First"])
    token = {"Authorization": f"Bearer {service.token(user)}"}
    eventually(lambda: service.request("GET", "/v1/inbox/counts", headers=token).json["counts"]["unseen"] == 0)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url.split("/v1/")[-1].split("?")[0]))
    tab.freeze()  # a stream, or counts, that come late would be fetched
    tab.page.evaluate(
        """async (token) => {
          const { Notifier } = await import("/static/notifier.js");
          window.tokens = 0;
          const getToken = async () => (tokens++, token);
          window.notifier = new Notifier({ getToken, name: "another" });
          for (const element of document.querySelectorAll("main > :not(h1)")) Object.assign(element, { notifier });
          notifier.connect();
        }""",
        service.token(user),
    )
    expect(tab.titles()).to_have_text(["First"])
    expect(tab.bell).to_have_accessible_name("Notifications, 1 unread")
    eventually(lambda: tab.page.evaluate("notifier.state") == "connected")
    assert tab.page.evaluate("tokens") == 1
    assert asked.count("inbox") == 1
    publish(service, user, "Second", "Third")
    expect(tab.titles()).to_have_text(["Third", "Second", "First"])
    tab.page.clock.run_for(1_000)
    eventually(lambda: tab.page.evaluate("notifier.inbox.counts.unseen") == 0)
    assert asked.count("inbox") == 1
    assert asked.count("inbox/seen") == 1  # for both
    assert tab.page.evaluate("tokens") == 1
    assert tab.errors == []


@pytest.mark.parametrize(
    ("cause", "text", "line"),
    [
        ("token", "Sign in again to see your notifications.", "getToken failed"),
        ("refused", "Sign in again to see your notifications.", "the service refused the token"),
        ("outage", "Notifications are not available right now.", "HTTP 503"),
        ("blocked", "The notification service cannot be reached.", "CORS"),
    ],
)
def test_failures_apart(context: BrowserContext, service: Service, user: str, cause: str, text: str, line: str) -> None:
    """A missing token, an outage and a blocked request have texts of their own, and the console names the cause."""
    tab = Tab(context, service, user, connects=False)
    logged: list[str] = []
    tab.page.on("console", lambda message: logged.append(message.text))
    if cause == "outage":
        problem = json.dumps({"code": "broker_unavailable", "title": "Not now"})
        tab.page.route("**/v1/inbox?*", lambda route: route.fulfill(status=503, body=problem))
    if cause == "blocked":
        tab.page.route("**/v1/inbox?*", lambda route: route.abort())
    tab.page.evaluate(
        """async ([cause, token]) => {
          const { Notifier } = await import("/static/notifier.js");
          const getToken = async () => {
            if (cause === "token") throw new Error("/my-token: HTTP 401");
            return cause === "refused" ? "Unauthorized" : token;
          };
          const notifier = new Notifier({ getToken });
          for (const element of document.querySelectorAll("main > :not(h1)")) Object.assign(element, { notifier });
        }""",
        [cause, service.token(user)],
    )
    expect(tab.inbox.get_by_role("status")).to_have_text(text)
    tab.page.evaluate("1")  # messages are received during this call
    assert any(entry.startswith("Notifier: ") and line in entry for entry in logged), logged
    assert tab.errors == []


def test_another_language(tab: Tab, service: Service, user: str) -> None:
    """When a page changes its language, ages and numbers follow, and toasts stay."""
    publish(service, user, "First", "Second", severity="critical")
    expect(tab.titles()).to_have_count(2)
    for lang, now, two in (("de", "jetzt", "2"), ("ar-EG", "الآن", "٢")):
        tab.page.evaluate("(lang) => (document.documentElement.lang = lang)", lang)
        expect(tab.inbox.locator("time")).to_have_text([now, now])
        expect(tab.page.locator("notifier-bell [part=badge]")).to_have_text(two)
    tab.bell.click()
    expect(tab.panel.locator("time")).to_have_text([now, now])
    expect(tab.toasts).to_have_count(2)


def test_texts_that_are_none(tab: Tab, service: Service, user: str) -> None:
    """Missing texts are in English."""
    publish(service, user, "First", "Second")
    tab.page.evaluate(
        """() => {
          const texts = { title: "For {name}", unreadLabel: { one: "One" }, close: undefined, all: null };
          for (const element of document.querySelectorAll("main > :not(h1)")) Object.assign(element, { texts });
        }"""
    )
    expect(tab.bell).to_have_accessible_name("Notifications, 2 unread")
    expect(tab.titles()).to_have_text(["Second", "First"])
    expect(tab.inbox.get_by_role("button", name="All", exact=True)).to_be_visible()
    expect(tab.page.get_by_role("region", name="For {name}")).to_have_count(1)
    tab.bell.click()
    expect(tab.panel.get_by_role("button", name="Close")).to_be_visible()


def test_a_language_that_is_none(tab: Tab, service: Service, user: str) -> None:
    """An invalid language falls back to that of the browser."""
    tab.page.evaluate("document.documentElement.lang = 'en_US'")
    publish(service, user, "First")
    expect(tab.titles()).to_have_text(["First"])
    expect(tab.bell).to_have_accessible_name("Notifications, 1 unread")


def test_unread_beyond_the_list(context: BrowserContext, service: Service, user: str) -> None:
    """All can be marked as read if only items beyond the loaded ones are unread."""
    publish(service, user, *[f"Number {number}" for number in range(25)])
    tab = Tab(context, service, user)
    for number in range(24, 4, -1):
        tab.act(f"Number {number}", "Mark as read")
    expect(tab.bell).to_have_accessible_name("Notifications, 5 unread")
    tab.inbox.get_by_role("button", name="Mark all as read").click()
    expect(tab.bell).to_have_accessible_name("Notifications")
    expect(tab.inbox.get_by_role("button", name="Mark all as read")).not_to_be_visible()


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(browser: Browser, service: Service, user: str, scheme: Any) -> None:
    """axe-core finds no fault, with the panel closed and open, empty and full."""
    with browser.new_context(color_scheme=scheme) as context:
        tab = Tab(context, service, user)
        tab.page.evaluate("document.documentElement.style.colorScheme = 'light dark'")
        check_accessibility(tab.page)
        for severity in ("info", "success", "warning", "error", "critical"):
            publish(service, user, severity.title(), body="The body", severity=severity, action_url="/orders")
        expect(tab.titles()).to_have_count(5)
        tab.act("Info", "Mark as read")
        check_accessibility(tab.page)
        tab.bell.click()
        expect(tab.panel.locator("li")).to_have_count(5)
        check_accessibility(tab.page)
