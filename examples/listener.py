"""A listener that runs indefinitely: it reconnects automatically, resumes, and handles every exception.

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

STATE = Path("listener.json")  # the position from which a restart resumes


def token_of(user: str, topics: list[str]) -> str:
    """Return a token, as your backend would. The stream asks for a new one before this one expires."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 600, "topics": topics}
    return jwt.encode(claims, os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0], algorithm="HS256")


def listen(user: str, topics: list[str]) -> None:
    """Print events. After a kill, the last one may be printed again."""
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
                    print(f"Lost permanently, load again: {', '.join(channels)}", flush=True)
            new = STATE.with_suffix(".new")
            new.write_text(json.dumps(stream.position._asdict()))
            new.replace(STATE)


def main(user: str = "alice", *topics: str) -> None:
    """Listen, and retry if that may help."""
    while True:
        try:
            listen(user, list(topics))
        except Unreachable as error:  # no answer for a minute, and never connected before
            print(error, file=sys.stderr)
        except ProblemError as problem:  # a token or a topic was rejected
            if not problem.is_temporary:
                sys.exit(f"Correct the token: {problem}")
        except StreamClosed as closed:
            sys.exit(f"The service does not allow a reconnect: {closed.code} {closed.reason}")
        except NotNotifier as error:
            sys.exit(f"Something else answers at NOTIFIER_URL: {error}")
        except (TooOld, TooNew) as error:
            sys.exit(f"Update the older one of service and client: {error}")
        except ConfigurationError as error:
            sys.exit(f"Correct NOTIFIER_URL or the token: {error}")
        except KeyboardInterrupt:
            sys.exit(130)
        time.sleep(5)


if __name__ == "__main__":
    main(*sys.argv[1:])
