"""Errors of Redis: one sentence for callers, everything else for the log.

Error texts of Redis and its libraries name hosts, paths and lines of scripts. Only the operator may see them.
"""

import logging
import time

import redis

from notifier.errors.problems import BrokerUnavailable

logger = logging.getLogger(__name__)

RETRY_AFTER = 2  # seconds, for clients of a broker that cannot be reached
_QUIET = 10.0  # seconds in which the same error is logged once
_MOST_REMEMBERED = 100

_logged: dict[str, float] = {}  # when an error was last logged, in monotonic seconds


def unavailable(error: BaseException) -> BrokerUnavailable:
    """Return an error of Redis as the problem that callers receive, and log the error."""
    if isinstance(error, BrokerUnavailable):
        return error
    _log(str(error) or type(error).__name__)
    is_answer = isinstance(error, redis.ResponseError)
    detail = "Redis refused the command." if is_answer else "Redis cannot be reached."
    return BrokerUnavailable(detail, retry_after=RETRY_AFTER)


def _log(text: str) -> None:
    now = time.monotonic()
    if now - _logged.get(text, -_QUIET) < _QUIET:
        return
    if len(_logged) >= _MOST_REMEMBERED:
        _logged.clear()
    _logged[text] = now
    logger.warning("Redis: %s", text)
