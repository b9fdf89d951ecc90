"""Fixtures: workers on a real server."""

from tests.kit.worker import make, worker

__all__ = ["make", "worker"]
