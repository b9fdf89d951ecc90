"""A listener that runs for ever: it comes back by itself, goes on where it was, and knows every exception by name.

make run    # in another terminal
. examples/environment.sh
.venv/bin/python examples/listener.py alice orders
"""

import json
import os
import sys
import time
from pathlib import Path

import jwt

from notifier.client import (
    ConfigurationError,
    Lost,
    NotifierClient,
    NotNotifier,
    Position,
    ProblemError,
    Received,
    Removed,
    StreamClosed,
    TooNew,
    TooOld,
    Unreachable,
)

STATE = Path("listener.json")  # where we are: a restart goes on there


def token_of(user: str, topics: list[str]) -> str:
    """Return a token, as your backend would; the stream asks for another one before this one expires."""
    claims = {"sub": user, "exp": int(time.time()) + 600, "topics": topics}
    return jwt.encode(claims, os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0], algorithm="HS256")


def listen(user: str, topics: list[str]) -> None:
    """Print what comes. What was printed last before a kill may be printed again."""
    since = Position(**json.loads(STATE.read_text())) if STATE.exists() else None
    with NotifierClient().listen(topics, since, get_token=lambda: token_of(user, topics)) as stream:
        print("Listening.", flush=True)
        for event in stream:
            match event:
                case Received(notification=notification):
                    print(notification.get("title"), flush=True)
                case Removed(id=id):
                    print(f"Recalled: {id}", flush=True)
                case Lost(channels=channels):
                    print(f"Gone for good, load anew: {', '.join(channels)}", flush=True)
            new = STATE.with_suffix(".new")
            new.write_text(json.dumps(stream.position._asdict()))
            new.replace(STATE)


def main(user: str = "alice", *topics: str) -> None:
    """Listen, and listen again where that may help."""
    while True:
        try:
            listen(user, list(topics))
        except Unreachable as error:  # nothing answered for a minute: not even once since we began
            print(error, file=sys.stderr)
        except ProblemError as problem:  # a token or a topic is refused
            if not problem.is_temporary:
                sys.exit(f"Correct the token: {problem}")
        except StreamClosed as closed:
            sys.exit(f"The service wants us to stay away: {closed.code} {closed.reason}")
        except NotNotifier as error:
            sys.exit(f"Something else answers at NOTIFIER_URL: {error}")
        except (TooOld, TooNew) as error:
            sys.exit(f"Update the one that is behind: {error}")
        except ConfigurationError as error:
            sys.exit(f"Correct NOTIFIER_URL or the token: {error}")
        except KeyboardInterrupt:
            sys.exit(130)
        time.sleep(5)


if __name__ == "__main__":
    main(*sys.argv[1:])
