"""Requests of backends for tokens, and for revoking them."""

from typing import Any, NamedTuple

from notifier.errors import Fault, InvalidTokenRequest
from notifier.protocol import channel
from notifier.protocol.identity import MAX_GRANTS
from notifier.protocol.inbox_request import read_object, unknown_fields

DEFAULT_AGE = 3600  # seconds
MAX_AHEAD = 60  # seconds that `issued_before` may lie in the future: clocks differ
_MAX_ID = 1024  # characters
_MOST_FAULTS = 50


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
    fields = read_object(body)
    faults = unknown_fields(fields, TokenRequest._fields)
    user = _user(fields.get("user"), faults)
    lists = {name: _patterns(name, fields.get(name, []), faults) for name in ("topics", "publish")}
    age = fields.get("expires_in", min(DEFAULT_AGE, max_age))
    if not _is_whole(age) or not 1 <= age <= max_age:
        faults.append(Fault("/expires_in", "out_of_range", f"Expected 1 to {max_age} seconds."))
    if faults:
        raise InvalidTokenRequest(faults=faults[:_MOST_FAULTS])
    return TokenRequest(user, lists["topics"], lists["publish"], age)


def read_revocation(body: bytes, now: float) -> Revocation:
    """Return what the body of a request revokes. `now` is in Unix seconds; it is the default of `issued_before`.

    Raises:
        MalformedJson, InvalidTokenRequest
    """
    fields = read_object(body)
    faults = unknown_fields(fields, ("user", "issued_before", "jti"))
    if ("user" in fields) == ("jti" in fields):
        faults.append(Fault("", "required", "Name either a user or a jti."))
    elif "jti" in fields:
        return Revocation(id=_id(fields, faults))
    user, before = _user(fields.get("user"), faults), fields.get("issued_before", now)
    if isinstance(before, bool) or not isinstance(before, int | float) or not 0 <= before <= now + MAX_AHEAD:
        text = f"Expected Unix seconds, at most {MAX_AHEAD} seconds from now."
        faults.append(Fault("/issued_before", "out_of_range", text))
    if faults:
        raise InvalidTokenRequest(faults=faults[:_MOST_FAULTS])
    return Revocation(user, before)


def _id(fields: dict[str, Any], faults: list[Fault]) -> str:
    id: Any = fields["jti"]
    if not isinstance(id, str) or not 0 < len(id) <= _MAX_ID:
        faults.append(Fault("/jti", "wrong_type", f"Expected text of at most {_MAX_ID} characters."))
    if "issued_before" in fields:
        faults.append(Fault("/issued_before", "unknown_field", "A jti names one token, whenever it was issued."))
    if faults:
        raise InvalidTokenRequest(faults=faults[:_MOST_FAULTS])
    return str(id)


def _user(name: Any, faults: list[Fault]) -> str:
    fault = channel.fault_of_name(name) if isinstance(name, str) else "Expected the name of a user."
    if fault:
        faults.append(Fault("/user", "invalid_name", fault))
    return str(name)


def _patterns(field: str, values: Any, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        faults.append(Fault(f"/{field}", "wrong_type", "Expected a list of topics or patterns."))
        return ()
    if len(values) > MAX_GRANTS:
        faults.append(Fault(f"/{field}", "too_many", f"At most {MAX_GRANTS}."))
    for index, value in enumerate(values[:MAX_GRANTS]):
        fault = channel.fault_of_pattern(value)
        if fault:
            faults.append(Fault(f"/{field}/{index}", "invalid_name", fault))
    return tuple(values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
