"""Bodies of requests: size limits, and an error for bodies that were cut off."""

from collections.abc import Iterator

from werkzeug import Request

from notifier.errors import BodyTooLarge, IncompleteBody, UnsupportedMediaType

_READ = 65536  # bytes at a time


def read(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: it is longer than `limit`, in bytes.
        IncompleteBody: it was cut off.
        UnsupportedMediaType: it is compressed.
    """
    announced = _announced(request, limit)
    body = _piece(request, limit + 1)
    if len(body) > limit:
        raise BodyTooLarge(f"At most {limit} bytes.")
    if announced is not None and len(body) < announced:
        raise IncompleteBody(f"{announced} bytes were announced, {len(body)} arrived.")
    return body


def pieces(request: Request, limit: int) -> Iterator[bytes]:
    """Yield the body in pieces.

    Raises:
        BodyTooLarge, IncompleteBody, UnsupportedMediaType: see `read`. The pieces before were yielded.
    """
    announced = _announced(request, limit)
    size = 0
    while data := _piece(request, _READ):
        size += len(data)
        if size > limit:
            raise BodyTooLarge(f"At most {limit} bytes.")
        yield data
    if announced is not None and size < announced:
        raise IncompleteBody(f"{announced} bytes were announced, {size} arrived.")


def _announced(request: Request, limit: int) -> int | None:
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "")
    if encoding.strip().lower() not in ("", "identity"):
        detail = "Content-Encoding is not supported: send the body uncompressed."
        raise UnsupportedMediaType(detail, headers={"Accept-Encoding": "identity"})
    announced = request.content_length
    if announced is not None and announced > limit:
        raise BodyTooLarge(f"At most {limit} bytes; this body has {announced}.")
    return announced


def _piece(request: Request, size: int) -> bytes:
    try:
        # gunicorn ends it where the body ends, so Werkzeug's wrapper around it is not needed.
        piece: bytes = request.environ["wsgi.input"].read(size)
    except Exception as error:
        # Of many kinds: a reset connection, a chunk with a wrong size, a client that closed the connection.
        raise IncompleteBody("The connection ended within the body, or a chunk is malformed.") from error
    return piece
