"""Requests of operators for API keys, and for new secrets of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from notifier.errors import InvalidKeyRequest
from notifier.protocol import channel
from notifier.protocol import tenant as tenants
from notifier.protocol.api_key import ANY, SCOPES
from notifier.protocol.faults import Faults
from notifier.protocol.request_fields import check_names, read_fields, read_lists

MAX_PATTERNS = MAX_SCOPES = 100  # in a list
MAX_NAME = 128  # characters
MAX_AGE = 10 * 365 * 86400  # seconds
MAX_OVERLAP, DEFAULT_OVERLAP = 30 * 86400, 86400  # seconds
_FIELDS = ("name", "tenant", "scopes", "topics", "users", "expires_in", "test")


class KeyRequest(NamedTuple):
    """A request for a key. `expires_in` is in seconds; None: never. `tenant` is None if the request names none."""

    name: str
    scopes: tuple[str, ...]
    topics: tuple[str, ...] = ANY
    users: tuple[str, ...] = ANY
    expires_in: int | None = None
    is_test: bool = False
    tenant: str | None = None


def read_key_request(body: bytes) -> KeyRequest:
    """Return what the body of a request asks for.

    Raises:
        MalformedJson, InvalidKeyRequest
    """
    faults = Faults(InvalidKeyRequest)
    fields = read_fields(body, _FIELDS, 2 * MAX_PATTERNS, faults)
    name = _name(fields.get("name"), faults)
    scopes = _scopes(fields.get("scopes"), faults)
    topics = _patterns("topics", fields, channel.fault_of_pattern, faults)
    users = _patterns("users", fields, channel.fault_of_user_pattern, faults)
    age = _whole("expires_in", fields.get("expires_in"), 1, MAX_AGE, faults)
    is_test = fields.get("test", False)
    if not isinstance(is_test, bool):
        faults.add("/test", "wrong_type", "Expected true or false.")
    tenant = fields.get("tenant")
    fault = tenants.fault_of(tenant) if isinstance(tenant, str) else "Expected the name of a tenant."
    if tenant is not None and fault:
        faults.add("/tenant", "invalid_name", fault)
    faults.check()
    return KeyRequest(name, scopes, topics, users, age, is_test, tenant)


def read_rotation(body: bytes) -> int:
    """Return for how many seconds the old secret is still accepted. An empty body asks for the default.

    Raises:
        MalformedJson, InvalidKeyRequest
    """
    faults = Faults(InvalidKeyRequest)
    fields = read_fields(body, ("overlap",), 0, faults) if body else {}
    overlap = _whole("overlap", fields.get("overlap", DEFAULT_OVERLAP), 0, MAX_OVERLAP, faults)
    if overlap is None:
        faults.add("/overlap", "wrong_type", "Expected seconds.")
    faults.check()
    return overlap or 0


def _name(value: Any, faults: Faults) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable() or value.isspace():
        faults.add("/name", "invalid_name", f"Expected 1 to {MAX_NAME} visible characters.")
    return str(value)


def _scopes(values: Any, faults: Faults) -> tuple[str, ...]:
    known = ", ".join(SCOPES)
    if not isinstance(values, list) or not values:
        faults.add("/scopes", "required", f"Expected a list of at least one of {known}.")
        return ()
    if len(values) > MAX_SCOPES:
        faults.add("/scopes", "too_many", f"At most {MAX_SCOPES}.")
        return ()
    for index, value in enumerate(values):
        if value not in SCOPES:
            faults.add(f"/scopes/{index}", "unknown_value", f"The scopes are {known}.")
    return tuple(scope for scope in SCOPES if scope in values)


def _patterns(
    field: str, fields: dict[str, Any], fault_of: Callable[[str], str | None], faults: Faults
) -> tuple[str, ...]:
    if field not in fields:
        return ANY
    [values] = read_lists(fields, (field,), MAX_PATTERNS, faults)
    check_names(field, values, fault_of, faults)
    return tuple(dict.fromkeys(map(str, values)))


def _whole(field: str, value: Any, least: int, most: int, faults: Faults) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        faults.add(f"/{field}", "out_of_range", f"Expected {least} to {most} whole seconds.")
    return int(value) if isinstance(value, int) else None
