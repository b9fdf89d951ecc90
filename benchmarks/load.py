"""The load: many WebSocket connections held by a compiled client, and publishers of two kinds."""

import http.client
import json
import subprocess
import time
from pathlib import Path

SOURCES = Path(__file__).parent


def build(directory):
    """Compile the two clients into a directory."""
    for name in ("load", "post"):
        subprocess.run(["cc", "-O2", "-o", Path(directory, name), SOURCES / f"{name}.c"], check=True)


class Listeners:
    """Connections that listen, held by the compiled client `load.c`, which describes commands and answers."""

    def __init__(self, directory):
        """Start the client with no connection yet."""
        self.directory = Path(directory)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([self.directory / "load"], start_new_session=True, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """End the client, and with it all its connections."""
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def open(self, service, count, in_flight=32, seconds=60):
        """Open some more connections, each with its own user where the service knows users."""
        hellos = [service.contender.hello(f"user-{number}") for number in range(count)]
        path = self.directory / "hellos"
        path.write_text("".join(f"{hello}\n" for hello in hellos if hello))
        greeting = str(path) if all(hellos) else ""
        target = f"{service.port} {service.contender.stream}"
        return self._ask(f"open {count} {target} {in_flight} {seconds} {greeting}")

    def reset(self):
        """Forget what was counted."""
        self._ask("reset")

    def wait(self, count, seconds):
        """Wait for so many notifications, at most so many seconds, and return what was counted."""
        return self._ask(f"wait {count} {seconds}")

    def _ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Publisher:
    """One publisher that numbers its notifications, on one kept connection, one request at a time."""

    def __init__(self, service, text_bytes):
        """Prepare notifications whose body is so many bytes long."""
        self.service = service
        self.template = service.contender.notification(text_bytes)
        self.published = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)

    def one(self):
        """Publish one notification that says when it was published."""
        self._post(self._lines(1, time.monotonic_ns()), "application/json")

    def many(self, count):
        """Publish many in one NDJSON request; they do not say when."""
        self._post(self._lines(count, 0), "application/x-ndjson")

    def _lines(self, count, published_at):
        first = self.published + 1
        return b"\n".join(self.template % (first + index, published_at) for index in range(count))

    def _post(self, body, content_type):
        headers = {**self.service.contender.headers, "Content-Type": content_type}
        self.connection.request("POST", self.service.contender.publish, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        accepted = text.count(self.service.contender.accepted.encode())
        self.published += accepted
        if accepted != body.count(b"\n") + 1:
            raise RuntimeError(f"{answer.status}, {accepted} accepted: {text[:300]!r}")


def post_repeatedly(directory, service, body, content_type, connections, seconds):
    """Post one body over and over on several kept connections, and return what `post.c` counted."""
    contender = service.contender
    headers = {"Host": "127.0.0.1", "Content-Type": content_type, "Content-Length": len(body)}
    headers |= contender.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = Path(directory, "request")
    request.write_bytes(f"POST {contender.publish} HTTP/1.1\r\n{head}\r\n".encode() + body)
    words = (Path(directory, "post"), service.port, connections, seconds, contender.accepted, request)
    command = [str(word) for word in words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds + 10)
    return json.loads(done.stdout)
