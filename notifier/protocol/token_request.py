"""Requests of backends for tokens, and for revoking them."""

from typing import Any, NamedTuple

from notifier.errors import Fault, InvalidTokenRequest
from notifier.protocol import channel
from notifier.protocol.faults import Faults
from notifier.protocol.identity import MAX_GRANTS
from notifier.protocol.request_fields import check_names, read_fields, read_lists

DEFAULT_AGE = 3600  # seconds
MAX_LENGTH = 16_000  # characters of a token: a header has at most 16,384 bytes
MAX_AHEAD = 60  # seconds that `issued_before` may lie in the future: clocks differ
_MAX_ID = 1024  # characters


class TokenRequest(NamedTuple):
    """A request for a token. `expires_in` is in seconds."""

    user: str
    topics: tuple[str, ...]
    publish: tuple[str, ...]
    expires_in: int


class Revocation(NamedTuple):
    """Which tokens are to be revoked: all of `user` issued before a time in Unix seconds, or the one with the `id`."""

    user: str = ""
    issued_before: float = 0
    id: str = ""


def read_token_request(body: bytes, max_age: int) -> TokenRequest:
    """Return what the body of a request asks for; `max_age` is the greatest lifetime in seconds.

    Raises:
        MalformedJson, InvalidTokenRequest
    """
    faults = Faults(InvalidTokenRequest)
    fields = read_fields(body, TokenRequest._fields, 2 * MAX_GRANTS, faults)
    user = _user(fields.get("user"), faults)
    lists = {name: _patterns(name, fields, faults) for name in ("topics", "publish")}
    age = fields.get("expires_in", min(DEFAULT_AGE, max_age))
    if not _is_whole(age) or not 1 <= age <= max_age:
        faults.add("/expires_in", "out_of_range", f"Expected 1 to {max_age} seconds.")
    faults.check()
    return TokenRequest(user, lists["topics"], lists["publish"], age)


def require_sendable(token: str) -> str:
    """Return a new token, unless it is too long for a header: no request could send it.

    Raises:
        InvalidTokenRequest
    """
    if len(token) > MAX_LENGTH:
        detail = f"The token would have {len(token):,} bytes, and at most {MAX_LENGTH:,} fit into a header."
        raise InvalidTokenRequest(faults=[Fault("", "too_long", f"{detail} Use patterns such as project:*.")])
    return token


def read_revocation(body: bytes, now: float) -> Revocation:
    """Return what the body of a request revokes. `now` is in Unix seconds; it is the default of `issued_before`.

    Raises:
        MalformedJson, InvalidTokenRequest
    """
    faults = Faults(InvalidTokenRequest)
    fields = read_fields(body, ("user", "issued_before", "jti"), 0, faults)
    if ("user" in fields) == ("jti" in fields):
        faults.add("", "required", "Name either a user or a jti.")
    elif "jti" in fields:
        return Revocation(id=_id(fields, faults))
    user, before = _user(fields.get("user"), faults), fields.get("issued_before", now)
    if isinstance(before, bool) or not isinstance(before, int | float) or not 0 <= before <= now + MAX_AHEAD:
        text = f"Expected Unix seconds, at most {MAX_AHEAD} seconds from now."
        faults.add("/issued_before", "out_of_range", text)
    faults.check()
    return Revocation(user, before)


def _id(fields: dict[str, Any], faults: Faults) -> str:
    id: Any = fields["jti"]
    if not isinstance(id, str) or not 0 < len(id) <= _MAX_ID:
        faults.add("/jti", "wrong_type", f"Expected text of at most {_MAX_ID} characters.")
    if "issued_before" in fields:
        faults.add("/issued_before", "unknown_field", "A jti names one token, whenever it was issued.")
    faults.check()
    return str(id)


def _user(name: Any, faults: Faults) -> str:
    fault = channel.fault_of_name(name) if isinstance(name, str) else "Expected the name of a user."
    if fault:
        faults.add("/user", "invalid_name", fault)
    return str(name)


def _patterns(field: str, fields: dict[str, Any], faults: Faults) -> tuple[str, ...]:
    [values] = read_lists(fields, (field,), MAX_GRANTS, faults)
    check_names(field, values, channel.fault_of_pattern, faults)
    return tuple(map(str, values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
