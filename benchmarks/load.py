"""The load: a compiled client with many WebSocket connections, and two kinds of publishers."""

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
    """Connections of the compiled client `load.c`, whose source describes its commands and answers."""

    def __init__(self, directory):
        """Start the client without connections."""
        self.directory = Path(directory)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([self.directory / "load"], start_new_session=True, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Stop the client with all its connections."""
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def open(self, service, count, in_flight=32, seconds=60):
        """Open more connections, each with its own user if the service has users."""
        hellos = [service.contender.hello(f"user-{number}") for number in range(count)]
        path = self.directory / "hellos"
        path.write_text("".join(f"{hello}\n" for hello in hellos if hello))
        greeting = str(path) if all(hellos) else ""
        target = f"{service.port} {service.contender.stream}"
        return self._ask(f"open {count} {target} {in_flight} {seconds} {greeting}")

    def reset(self):
        """Reset the counts."""
        self._ask("reset")

    def wait(self, count, seconds):
        """Wait until `count` notifications have arrived, or for `seconds`, and return the counts."""
        return self._ask(f"wait {count} {seconds}")

    def _ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Publisher:
    """A publisher that numbers its notifications, on one persistent connection, one request at a time."""

    def __init__(self, service, text_bytes):
        """Prepare notifications with a body of `text_bytes`."""
        self.service = service
        self.template = service.contender.notification(text_bytes)
        self.published = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)

    def one(self):
        """Publish one notification with its time of publication."""
        self._post(self._lines(1, time.monotonic_ns()), "application/json")

    def many(self, count):
        """Publish many in one NDJSON request, without times."""
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
    """Post the same body repeatedly on several persistent connections, and return the counts of `post.c`."""
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
