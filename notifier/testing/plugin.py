"""The pytest plugin. Every test run loads it where Notifier is installed, so it imports the rest when it is asked."""

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
    """A `NotifierClient` that publishes nowhere and remembers what it was asked to."""
    from notifier.testing.recording import RecordingNotifier

    return RecordingNotifier()


@pytest.fixture
def async_recording_notifier() -> "AsyncRecordingNotifier":
    """An `AsyncNotifierClient` that publishes nowhere and remembers what it was asked to."""
    from notifier.testing.recording import AsyncRecordingNotifier

    return AsyncRecordingNotifier()
