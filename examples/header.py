"""Authentication by header: a program sends its user's token with the upgrade request.

    make run    # in another terminal
    . examples/environment.sh
    .venv/bin/python examples/header.py alice

It implements the protocol itself. listener.py does the same with `notifier.client`, and reconnects.
"""

import json
import os
import sys
import time

import jwt
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

URL = os.environ["NOTIFIER_URL"].replace("http", "ws", 1) + "/v1/stream"
SECRET = os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0]


def token_of(user: str) -> str:
    """Return a token, as a backend would for its user."""
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now, "exp": now + 3600}, SECRET, algorithm="HS256")


def main(user: str) -> None:
    """Print the notifications of the user."""
    headers = {"Authorization": f"Bearer {token_of(user)}"}
    try:
        with connect(URL, additional_headers=headers, subprotocols=["notifier.v1"]) as socket:
            socket.send(json.dumps({"type": "hello"}))  # without a token: it is in the header
            for text in socket:
                frame = json.loads(text)
                if frame["type"] == "welcome":
                    print(f"Welcome, {frame['user']}.", flush=True)
                elif frame["type"] == "notification":
                    print(frame["notification"].get("title"), flush=True)
    except InvalidStatus as refused:
        sys.exit(f"The service refuses the token: {json.loads(refused.response.body)['title']}")


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["alice"])
