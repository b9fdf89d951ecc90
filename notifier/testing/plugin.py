"""The pytest plugin. pytest loads it wherever Notifier is installed, so it imports the rest only when needed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from notifier.testing.recording import AsyncRecordingNotifier, RecordingNotifier
    from notifier.testing.service import NotifierService


@pytest.fixture(scope="session")
def notifier_service() -> "Iterator[NotifierService]":
    """A real service with an embedded Valkey, shared by all tests: use names of your own."""
    from notifier.testing.service import NotifierService

    with NotifierService() as service:
        yield service


@pytest.fixture
def recording_notifier() -> "RecordingNotifier":
    """A `NotifierClient` that records notifications instead of publishing them."""
    from notifier.testing.recording import RecordingNotifier

    return RecordingNotifier()


@pytest.fixture
def async_recording_notifier() -> "AsyncRecordingNotifier":
    """An `AsyncNotifierClient` that records notifications instead of publishing them."""
    from notifier.testing.recording import AsyncRecordingNotifier

    return AsyncRecordingNotifier()
