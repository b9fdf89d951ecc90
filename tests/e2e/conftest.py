"""What the end-to-end tests share: a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.kit.chromium import CHROMIUM, Chromium

_LONG = {"test_readme.py", "test_chaos.py", "test_wheel.py", "test_examples.py", "test_proxies.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.name not in _LONG)


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
