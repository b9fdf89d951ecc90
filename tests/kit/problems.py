"""Checks the answers that are problems."""

from typing import Any

from tests.kit.service import PROBLEM, Answer


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a complete problem (RFC 9457), and return the problem."""
    assert (answer.status, answer.json and answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == PROBLEM
    problem: dict[str, Any] = answer.json
    assert problem["status"] == status
    assert problem["type"].endswith(f"#{code}")
    assert problem["title"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return problem
