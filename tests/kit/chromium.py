"""A real Chromium whose tabs run the browser library."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.kit.service import Service
from tests.kit.waiting import DEADLINE, eventually

WHOLE = shutil.which("chromium")
CHROMIUM = shutil.which("chromium-headless-shell") or WHOLE  # the headless shell takes less time
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]

_AXE = Path(__file__).parent.parent.parent / "node_modules/axe-core/axe.min.js"

needs_axe = pytest.mark.skipif(not _AXE.exists(), reason="needs axe-core from npm")

expect.set_options(timeout=1000 * DEADLINE)

# A document does not list the animations in the shadow trees of its elements.
_STILL = """() => {
  const animationsIn = (root) => {
    const inner = [...root.querySelectorAll("*")].flatMap(({ shadowRoot }) => shadowRoot ?? []);
    return [...root.getAnimations(), ...inner.flatMap(animationsIn)];
  };
  return Promise.all(animationsIn(document).map((animation) => animation.finished.catch(() => {})));
}"""

_START = """async ([token, options]) => {
  const { Notifier } = await import("/static/notifier.js");
  const notifier = new Notifier({ getToken: async () => token, ...options });
  Object.assign(window, { notifier, titles: [], once: [], replayed: [], problems: [] });
  notifier.on("notification", ({ title }) => titles.push(title));
  notifier.on("notification", ({ title }) => once.push(title), { perBrowser: true });
  notifier.on("replayed", (event) => replayed.push(event));
  notifier.on("error", ({ code, message }) => problems.push(code ?? message));
  notifier.connect();
}"""

# The page itself looks: each question from outside would keep four processes busy.
_WAIT = """(value) => {
  const end = Date.now() + 1000;
  return new Promise((resolve, reject) => {
    const look = () => {
      try {
        if (%s) resolve(true);
        else if (Date.now() > end) resolve(false);
        else setTimeout(look, 20);
      } catch (error) {
        reject(error);
      }
    };
    look();
  });
}"""


class Chromium:
    """A Chromium without a window, for one test after the other."""

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._launch(CHROMIUM)
        self._loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Browser]:
        """Give the browser to a test, and close what the test has left open."""
        with self._running():
            yield self._browser
            for context in self._browser.contexts:
                context.close()

    @contextlib.contextmanager
    def whole(self) -> Iterator[Browser]:
        """Start a browser with all that Chromium has: the headless shell has no back/forward cache."""
        with self._running(), self._launch(WHOLE) as browser:
            yield browser

    def close(self) -> None:
        """End Chromium."""
        asyncio._set_running_loop(self._loop)
        self._browser.close()
        self._playwright.stop()

    def _launch(self, program: str | None) -> Browser:
        browser = self._playwright.chromium.launch(
            executable_path=program,
            args=_QUIET,
            # Keep the back/forward cache, as browsers do.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        browser.on("context", _be_patient)
        return browser

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Let Playwright's event loop count as running in this thread only meanwhile: other tests run their own."""
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


class Tab:
    """A tab with a Notifier. `port` is that of a proxy between the page and the service, if there is one."""

    def __init__(
        self, context: BrowserContext, service: Service, user: str, port: int | None = None, **options: Any
    ) -> None:
        self.page: Page = context.new_page()
        self.page.goto(f"http://127.0.0.1:{port or service.port}/docs/errors")
        token = service.token(user, ["orders", "invoices"], publish=["orders"])
        self.page.evaluate(_START, [token, options])

    def wait(self, condition: str, value: object = None) -> None:
        """Wait until an expression is true in the page; `value` is a variable of the expression."""
        until(self.page, condition, value)

    def connected(self) -> "Tab":
        """Wait until it is connected."""
        self.wait("globalThis.notifier?.state === 'connected'")
        return self

    def get(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        return self.page.evaluate(expression)

    def got(self, titles: list[str]) -> None:
        """Wait for the last of these titles, and check that exactly these came, in this order."""
        self.wait("titles.includes(value)", titles[-1])
        got = self.get("titles")
        assert got == titles, got


def _be_patient(context: BrowserContext) -> None:
    """Wait as long for what a page does as for all else: half a minute can pass on a busy machine."""
    context.set_default_timeout(1000 * DEADLINE)


def until(page: Page, condition: str, value: object = None, deadline: float = DEADLINE) -> None:
    """Wait until an expression is true in a page; `value` is a variable of the expression."""
    eventually(lambda: _comes_true(page, condition, value), deadline)


def _comes_true(page: Page, condition: str, value: object) -> bool:
    """Return whether an expression becomes true within a second."""
    try:
        return bool(page.evaluate(_WAIT % condition, value))
    except Error as error:
        if "context was destroyed" in str(error):
            return False  # the tab is on its way to another page, or back to this one
        raise


def check_accessibility(page: Page) -> None:
    """Check with axe-core that a page has no fault, after its animations have ended."""
    page.evaluate(_STILL)
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(_AXE.read_text())
    # Without this option axe-core also describes each element that has no fault.
    options = {"resultTypes": ["violations"]}
    found = page.evaluate("async (options) => (await axe.run(document, options)).violations", options)
    assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def connections(service: Service) -> int:
    """Return the number of connections of a service."""
    [line] = [line for line in service.metrics().splitlines() if line.startswith("notifier_connections")]
    return int(float(line.split()[1]))
