"""What the end-to-end tests share: a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.kit.chromium import CHROMIUM, Chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The one Chromium of all tests: a start costs as much as many tests."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    chromium = Chromium()
    yield chromium
    chromium.close()


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """The browser, without a page: a test opens pages or contexts of its own."""
    with chromium.borrowed() as browser:
        yield browser
