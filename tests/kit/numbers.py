"""Publishes consecutive numbers, in which a test sees gaps and duplicates."""

from tests.kit.service import Service


def publish_numbers(service: Service, topic: str, first: int, last: int) -> None:
    """Publish the numbers from the first to the last to a topic, in a few large requests."""
    for start in range(first, last + 1, 2_500):
        numbers = range(start, min(start + 2_500, last + 1))
        answer = service.publish([{"to": {"topics": [topic]}, "data": number} for number in numbers])
        assert all(line["status"] == 201 for line in answer.json), answer.json[-1]
