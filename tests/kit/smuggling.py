"""Requests whose end a proxy may see at another place than the service, and which could hide another request."""

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

_FIELDS = {
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 60",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": b"Content-Length: 5, 5",
    "a length with a plus": b"Content-Length: +5",
    "a negative length": b"Content-Length: -5",
    "a hexadecimal length": b"Content-Length: 0x5",
    "a length with an underscore": b"Content-Length: 5_0",
    "a superscript length": b"Content-Length: \xb2",
    "no length": b"Content-Length: ",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "no coding": b"Transfer-Encoding: ",
    "a coding after chunks": b"Transfer-Encoding: chunked, identity",
    "a coding before chunks": b"Transfer-Encoding: gzip, chunked",
    "identity before chunks": b"Transfer-Encoding: identity, chunked",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "a coding with a control character": b"Transfer-Encoding: \x0bchunked",
    "a quoted coding": b'Transfer-Encoding: "chunked"',
    "a blank before the colon": b"Transfer-Encoding : chunked",
    "a folded coding": b"Transfer-Encoding:\r\n chunked",
    "a folded header": b"X: y\r\n z\r\nContent-Length: 5",
    "a bare LF": b"X: y\nContent-Length: 5",
    "a bare CR": b"X: y\rContent-Length: 5",
    "a NUL": b"X: y\0\r\nContent-Length: 5",
    "two hosts": b"Host: b\r\nContent-Length: 5",
}
HEADS = {name: POST + fields + b"\r\n\r\n" for name, fields in _FIELDS.items()} | {
    "only LF": b"POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\n",
    "chunks of HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded first header": b"POST / HTTP/1.1\r\n Host: a\r\nContent-Length: 5\r\n\r\n",
}
CHUNKS = {
    "a size with a plus": b"+5\r\nabcde\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nabcde\r\n0\r\n\r\n",
    "a prefixed size": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "a size with an underscore": b"5_0\r\nabcde\r\n0\r\n\r\n",
    "a size with a blank": b"5 \r\nabcde\r\n0\r\n\r\n",
    "no size": b"\r\nabcde\r\n0\r\n\r\n",
    "sizes with bare LF": b"5\nabcde\n0\n\n",
    "an extension with a bare LF": b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
    "an extension with a bare CR": b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
    "no end of a chunk": b"5\r\nabcdeXX0\r\n\r\n",
    "a length behind the chunks": b"5\r\nabcde\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a coding behind the chunks": b"5\r\nabcde\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a bare LF behind the chunks": b"5\r\nabcde\r\n0\r\nA: b\n\r\n\r\n",
}
