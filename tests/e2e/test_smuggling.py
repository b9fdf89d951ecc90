"""Requests that could hide another one from a proxy: each is rejected, and its connection is closed."""

import json
import re
import socket

import pytest

from tests.kit.service import API_KEY, Service
from tests.kit.smuggling import CHUNKED, CHUNKS, HEADS
from tests.kit.waiting import DEADLINE


def answers(service: Service, data: bytes) -> list[int]:
    """Return the status of each answer to some bytes, until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), DEADLINE) as sock, sock.makefile("rb") as file:
        sock.sendall(data)
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", file.read())]


def publication(framing: bytes) -> bytes:
    """Return the head of a publication that is framed as in another head."""
    end = b"\r\n" if b"\r\n" in framing else b"\n"
    credentials = f"Authorization: Bearer {API_KEY}".encode()
    fields = end.join((b"Host: a", credentials, b"Content-Type: application/json"))
    return framing.replace(b"POST / ", b"POST /v1/notifications ", 1).replace(b"Host: a", fields, 1)


@pytest.mark.parametrize("framing", [*HEADS.values(), *(CHUNKED + chunks for chunks in CHUNKS.values())])
def test_smuggling(service: Service, user: str, framing: bytes) -> None:
    """The request gets 400, whatever hides in it or behind it is not carried out, and the connection ends."""
    body = json.dumps({"to": {"users": [user]}, "title": "x"}).encode()
    hidden = publication(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert answers(service, publication(framing) + b"0\r\n\r\n" + hidden) == [400]
    inbox = service.request("GET", "/v1/inbox", headers={"Authorization": f"Bearer {service.token(user)}"})
    assert [item for item in inbox.json["items"] if item["channel"] == f"user:{user}"] == []


def test_certain_ends(service: Service, user: str) -> None:
    """Requests behind one another, each with a certain end, are all carried out."""
    body = json.dumps({"to": {"users": [user]}, "title": "x"}).encode()
    chunked = publication(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    last = (
        publication(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)) + body
    )
    assert answers(service, chunked * 2 + last) == [201, 201, 201]
