"""The demo page in a real Chromium."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.kit.chromium import CHROMIUM, check_accessibility, needs_axe
from tests.kit.service import Service

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def demo() -> Iterator[Service]:
    """A service in development mode with two workers."""
    with Service(dev=1) as service:
        yield service


@pytest.fixture
def complaints() -> list[str]:
    """Errors on the browser's console."""
    return []


def open_tab(browser: Browser, service: Service, complaints: list[str]) -> Page:
    def complain(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page = browser.new_page()
    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{service.port}/")
    for user in ("alice", "bob"):
        expect(page.locator(f'[data-client="{user}"]')).to_have_attribute("data-state", "connected")
    return page


def titles(page: Page, user: str):
    return page.locator(f'[data-client="{user}"] [data-role="list"] [data-role="title"]')


def test_one_post_reaches_every_tab(browser: Browser, demo: Service, complaints: list[str]) -> None:
    """A notification appears in every tab of its user, on every worker, and in no other user's."""
    tabs = [open_tab(browser, demo, complaints) for _ in range(4)]
    published = demo.publish({"to": {"users": ["alice"]}, "title": "For every tab"})
    assert published.status == 201
    for tab in tabs:
        expect(tab.locator('[data-client="alice"] [data-role="cursor"]')).to_have_text(
            published.json["channels"][0]["cursor"]
        )
        expect(titles(tab, "alice").first).to_have_text("For every tab")
        expect(titles(tab, "bob").filter(has_text="For every tab")).to_have_count(0)
        tab.close()
    assert complaints == []


def test_a_cut_connection_catches_up(browser: Browser, demo: Service, complaints: list[str]) -> None:
    """Notifications published while a client is disconnected appear later, marked as replayed, once and in order."""
    tab = open_tab(browser, demo, complaints)
    alice = tab.locator('[data-client="alice"]')
    assert demo.publish({"to": {"users": ["alice"]}, "title": "Before"}).status == 201
    expect(titles(tab, "alice").first).to_have_text("Before")
    alice.locator('[data-role="switch"]').click()
    expect(alice).to_have_attribute("data-state", "idle")
    for title in ("First missed", "Second missed"):
        assert demo.publish({"to": {"users": ["alice"]}, "title": title}).status == 201
    alice.locator('[data-role="switch"]').click()
    expect(alice).to_have_attribute("data-state", "connected")
    expect(titles(tab, "alice").first).to_have_text("Second missed")
    assert titles(tab, "alice").all_inner_texts()[:2] == ["Second missed", "First missed"]
    expect(titles(tab, "alice").filter(has_text="Before")).to_have_count(1)
    expect(titles(tab, "alice").filter(has_text="missed")).to_have_count(2)
    expect(alice.locator('li:has-text("First missed") [data-role="replayed"]')).to_be_visible()
    assert complaints == []
    tab.close()


def test_the_form_publishes(browser: Browser, demo: Service, complaints: list[str]) -> None:
    """The page's form publishes, and shows the equivalent curl command."""
    tab = open_tab(browser, demo, complaints)
    form = tab.locator("form#publish")
    form.get_by_label("Title", exact=False).first.fill("From the form")
    expect(tab.locator("#curl")).to_contain_text("From the form")
    form.get_by_role("button", name="Publish").click()
    expect(titles(tab, "alice").filter(has_text="From the form").first).to_be_visible()
    expect(tab.locator("#result")).to_contain_text("user:alice")
    assert complaints == []
    tab.close()


def test_what_is_read_is_read_in_every_tab(browser: Browser, demo: Service, complaints: list[str]) -> None:
    """A notification is on the bell, in the inbox and in a toast; marking it as read in one tab affects the other."""
    tabs = [open_tab(browser, demo, complaints) for _ in range(2)]
    assert demo.publish({"to": {"users": ["bob"]}, "title": "For Bob", "severity": "critical"}).status == 201
    people = [tab.locator('[data-client="bob"]') for tab in tabs]
    for bob in people:
        expect(bob.locator("notifier-toasts li", has_text="For Bob")).to_be_visible()
        expect(bob.locator("notifier-inbox").first.locator("[part~=unread]")).to_have_count(1)
        expect(bob.get_by_role("button", name="Notifications, 1 unread")).to_be_visible()
    people[0].get_by_role("button", name="Notifications, 1 unread").click()
    people[0].get_by_role("dialog").get_by_role("button", name="For Bob", exact=True).click()
    for bob in people:
        expect(bob.locator("notifier-toasts li")).to_have_count(0)
        expect(bob.get_by_role("button", name="Notifications", exact=True)).to_be_visible()
    assert complaints == []
    for tab in tabs:
        tab.close()


@needs_axe
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(browser: Browser, demo: Service, complaints: list[str], scheme: Any, width: int) -> None:
    """axe-core finds no fault on the page, wide or narrow, light or dark, with the panel closed and open."""
    tab = open_tab(browser, demo, complaints)
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 900})
    for severity in ("info", "success", "warning", "error", "critical"):
        publication = {"to": {"all": True}, "title": f"{severity} {scheme} {width}", "severity": severity}
        assert demo.publish(publication).status == 201
    expect(titles(tab, "bob").first).to_have_text(f"critical {scheme} {width}")
    expect(tab.locator("notifier-toasts li", has_text=f"critical {scheme} {width}")).to_have_count(2)
    check_accessibility(tab)
    alice = tab.locator('[data-client="alice"]')
    alice.get_by_role("button", name="unread").first.click()
    expect(alice.get_by_role("dialog").locator("li").first).to_be_visible()
    check_accessibility(tab)
    assert complaints == []
    tab.close()
