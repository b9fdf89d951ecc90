"""Names of users, topics and tenants in requests, and paths and queries that are not UTF-8."""

import functools
import re
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from flask import Blueprint, request
from werkzeug.routing import PathConverter

from notifier.errors import BadRequest, NotFound
from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants

_PLACE = re.compile(r"<name:(\w+)>")


class _Name(PathConverter):
    """A name may contain slashes, and begin with one.

    A line break is part of a name here, and rejected with it: a name that ended there would be looked for at each of a
    thousand places in a long path.
    """

    part_isolating = False
    regex = "(?s:.+?)"
    weight = PathConverter.weight


def routes_with_names(name: str) -> Blueprint:
    """Return an empty blueprint in whose paths `<name:...>` matches the name of a user or topic."""
    blueprint = Blueprint(name, __name__)
    blueprint.record_once(lambda setup: setup.app.url_map.converters.update(name=_Name))
    blueprint.url_value_preprocessor(_read_names)
    return blueprint


def require_utf8() -> None:
    """Reject a request whose path or query is not UTF-8: replaced characters would make different names equal.

    Raises:
        BadRequest
    """
    path, query = request.environ["PATH_INFO"], request.environ.get("QUERY_STRING", "")
    if not path.isascii():
        _require_utf8("path", path.encode("latin-1"))
    if "%" in query or not query.isascii():
        _require_utf8("query", unquote_to_bytes(query.encode("latin-1")))


def require_user(name: str) -> None:
    """Reject what cannot be the name of a user.

    Raises:
        BadRequest
    """
    fault = channels.fault_of_name(name)
    if fault:
        raise BadRequest(f"user: {fault}")


def require_topic(name: str) -> None:
    """Reject what cannot be the name of a topic.

    Raises:
        BadRequest
    """
    fault = channels.fault_of_topic(name)
    if fault:
        raise BadRequest(f"topic: {fault}")


def require_tenant(name: str) -> None:
    """Reject what cannot be the name of a tenant.

    Raises:
        BadRequest
    """
    fault = tenants.fault_of(name)
    if fault:
        raise BadRequest(f"tenant: {fault}")


def _require_utf8(part: str, text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"The {part} is not UTF-8.") from None


def _read_names(_: str | None, names: dict[str, Any] | None) -> None:
    """Replace the names, which were found in the decoded path, by those in the path as it was sent.

    If the path contains `%2F`, only an unencoded `/` ends a name. Some proxies decode all of them: without `%2F`, a
    name may contain `/`, as long as the path has only one meaning. `DELETE /users/alice/export` has two: it erases the
    user `alice/export`, or is meant for the export of `alice`.

    Raises:
        NotFound, BadRequest
    """
    if not names or request.url_rule is None:
        return
    sent, rule = _sent_path(), request.url_rule.rule
    if "%2f" in sent.lower():
        found = _pattern(rule, "[^/]+").fullmatch(sent)
        if not found:
            raise NotFound(f"The service has no {request.path}: check the URL.")
        names.update((name, unquote(part)) for name, part in found.groupdict().items())
    elif any(name.endswith("/") for name in names.values()):
        raise NotFound(f"The service has no {request.path}: check the URL.")
    elif any("/" in name for name in names.values()) and _has_other_meaning(request.path, names):
        raise BadRequest("The path has several meanings: encode each / in a name as %2F.")


def _has_other_meaning(path: str, names: dict[str, Any]) -> bool:
    """Return whether a path can be read in another way: with other names, or as that of another route of any method.

    The path of an export is also that of a user, and then is the export.
    """
    rule = request.url_rule
    if rule is None or (found := _pattern(rule.rule, ".+").fullmatch(path)) is None or found.groupdict() != names:
        return True
    others = {other.rule for other in rule.map.iter_rules() if _PLACE.search(other.rule)} - {rule.rule}
    return any(_pattern(other, ".+").fullmatch(path) and not _includes(other, rule.rule) for other in others)


def _includes(general: str, special: str) -> bool:
    """Return whether each path of the `special` rule is one of the `general` rule, too."""
    return _pattern(general, ".+").fullmatch(special) is not None


def _sent_path() -> str:
    """Return the path below the application, still percent-encoded."""
    sent: str = request.environ.get("RAW_URI", "").partition("?")[0]
    if not sent.startswith("/"):  # the form of requests to a proxy: with scheme and host
        sent = "/" + sent.partition("://")[2].partition("/")[2]
    return sent.removeprefix(request.environ.get("SCRIPT_NAME", ""))


@functools.cache
def _pattern(rule: str, name: str) -> re.Pattern[str]:
    return re.compile(_PLACE.sub(rf"(?P<\1>{name})", rule), re.DOTALL)
