"""Long polls that are waiting while a test does something else."""

import contextlib
import json
from collections.abc import Iterator
from urllib.parse import urlencode

from tests.kit.service import Answer, Service


@contextlib.contextmanager
def waiting(service: Service, user: str, **query: object) -> Iterator[list[Answer]]:
    """Open a poll and wait for its welcome. The list has the answer when the block has ended."""
    answers: list[Answer] = []
    headers = {"Authorization": f"Bearer {service.token(user, ['*'])}"}
    with contextlib.closing(service.dial()) as connection:
        connection.request("GET", f"/v1/stream?{urlencode(query)}", headers=headers)
        response, text = connection.getresponse(), b""
        while b'"welcome"' not in text:
            text += (part := response.read1())
            assert part, "The answer ended before the welcome came."
        yield answers
        text += response.read()
        answers.append(Answer(response.status, response.headers, json.loads(text)))
