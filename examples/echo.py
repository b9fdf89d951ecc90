"""Echo: the service returns each message unchanged, text and bytes. For testing a network or a proxy.

make run    # in another terminal
. examples/environment.sh
.venv/bin/python examples/echo.py Hello "How are you?"
"""

import os
import sys
import time

from websockets.sync.client import connect

URL = os.environ["NOTIFIER_URL"].replace("http", "ws", 1) + "/v1/echo"


def main(texts: list[str]) -> None:
    """Send each text, and then all of them at once as bytes; print what comes back."""
    with connect(URL) as socket:
        for message in [*texts, " ".join(texts).encode()]:
            began = time.perf_counter()
            socket.send(message)
            answer = socket.recv(timeout=10)
            took = (time.perf_counter() - began) * 1000
            print(f"{answer!r} came back after {took:.1f} ms")
            assert answer == message, "a proxy changes what it passes on"


if __name__ == "__main__":
    main(sys.argv[1:] or ["Hello"])
