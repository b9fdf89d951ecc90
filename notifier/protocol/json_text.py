"""The text of JSON in a body, before it is decoded.

A byte order mark is ignored, other encodings than UTF-8 are named in the error, and levels are limited.
"""

from notifier.errors.problem import Fault, Problem
from notifier.errors.problems import MalformedJson
from notifier.protocol.json_shape import MAX_DEPTH, is_deep

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Windows programs write it; parsers may ignore it (RFC 8259 section 8.1)
_GZIP = b"\x1f\x8b"


def utf8_of(body: bytes) -> bytes:
    """Return a body without its byte order mark.

    Raises:
        MalformedJson: it has another encoding, or is compressed.
    """
    if body.startswith(_BYTE_ORDER_MARK):
        return body[len(_BYTE_ORDER_MARK) :]
    if body.startswith(_GZIP):
        raise MalformedJson("It is compressed: send it uncompressed.")
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or 0 in body[:4]:
        raise MalformedJson("It is encoded in UTF-16 or UTF-32: send UTF-8.")
    return body


def require_flat(body: bytes, most: int, refusal: type[Problem]) -> None:
    """Reject a body with more levels of arrays and objects than `most`.

    Raises:
        refusal: it is an object.
        MalformedJson: it is not.
    """
    if not is_deep(body, most):
        return
    detail = f"At most {MAX_DEPTH} levels of arrays and objects."
    if not body.lstrip().startswith(b"{"):
        raise MalformedJson(detail)
    raise refusal(faults=[Fault("", "too_deep", detail)])


def reason(body: bytes, error: Exception) -> str:
    """Return why a body is not a JSON object, for the error of the decoder."""
    if not body.strip():
        return "It is empty."
    if body.lstrip().startswith(b"["):
        return "It is an array. Send one object, or several as NDJSON: one object per line."
    return f"{error}."
