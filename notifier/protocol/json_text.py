"""The text of JSON in a body: a byte order mark is ignored, and other encodings than UTF-8 are named in the error."""

from notifier.errors.problems import MalformedJson

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


def reason(body: bytes, error: Exception) -> str:
    """Return why a body is not a JSON object, for the error of the decoder."""
    if not body.strip():
        return "It is empty."
    if body.lstrip().startswith(b"["):
        return "It is an array. Send one object, or several as NDJSON: one object per line."
    return f"{error}."
