"""Requests as gunicorn gives them to the application, without a service."""

import functools
import io
import sys
from typing import Any

from werkzeug import Request
from werkzeug.test import EnvironBuilder


class BrokenBody(io.BytesIO):
    """A body whose connection is reset after these bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError("reset")
        return data


def request_of(
    body: bytes | io.BytesIO = b"",
    *,
    method: str = "POST",
    path: str = "/v1/notifications",
    query: str = "",
    length: int | None = None,
    chunked: bool = False,
    **headers: str,
) -> Request:
    """Return a request. Headers are named as in the environ: `authorization`, `content_type`.

    `length` is the announced length, if it is not that of the body. A chunked body announces none.
    """
    environ = dict(_environ(path, method, query))
    data = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    environ |= {"wsgi.input": data, "wsgi.errors": sys.stderr}
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(len(data.getvalue()) if length is None else length)
    for name, text in headers.items():
        environ[name.upper() if name == "content_type" else f"HTTP_{name.upper()}"] = text
    return Request(environ)


@functools.lru_cache
def _environ(path: str, method: str, query: str) -> dict[str, Any]:
    """Return an environ to copy: to build one takes longer than most of what is done with it."""
    return EnvironBuilder(path, method=method, query_string=query).get_environ()
