"""Names of users and topics in paths."""

from flask import Blueprint
from werkzeug.routing import PathConverter

from notifier.errors import BadRequest
from notifier.protocol import channel as channels


class _Name(PathConverter):
    """A name may contain slashes, and begin with one."""

    part_isolating = False
    regex = ".+?"
    weight = PathConverter.weight


def routes_with_names(name: str) -> Blueprint:
    """Return an empty blueprint in whose paths `<name:...>` matches the name of a user or topic."""
    blueprint = Blueprint(name, __name__)
    blueprint.record_once(lambda setup: setup.app.url_map.converters.update(name=_Name))
    return blueprint


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
