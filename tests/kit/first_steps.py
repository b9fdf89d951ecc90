"""The first program of a user: publish, listen, read the inbox; with threads and with asyncio.

    NOTIFIER_URL=... NOTIFIER_API_KEY=... NOTIFIER_TOKEN=... python -P first_steps.py USER

It runs where only the client is installed, and imports nothing else.
"""

import asyncio
import sys

from notifier.client import AsyncNotifierClient, NotifierClient, ProblemError, Received


def with_threads(user: str) -> None:
    """Publish to a user who listens, and read it."""
    with NotifierClient() as notifier, notifier.listen() as stream:
        published = notifier.publish(to={"users": [user]}, title="Hello")
        received = next(stream)
        assert isinstance(received, Received) and received.notification["id"] == published.id
        results = list(notifier.publish_many([{"to": {"users": [user]}, "title": "Again"}, {"to": {}}]))
        assert isinstance(results[1], ProblemError)
        assert notifier.inbox().read(published.id).counts.unread == 1


async def with_asyncio(user: str) -> None:
    """Do the same with asyncio."""
    async with AsyncNotifierClient() as notifier, notifier.listen() as stream:
        published = await notifier.publish(to={"users": [user]}, title="Hello")
        received = await anext(stream)
        assert isinstance(received, Received) and received.notification["id"] == published.id


if __name__ == "__main__":
    with_threads(sys.argv[1])
    asyncio.run(with_asyncio(sys.argv[1]))
    print("published and received")
