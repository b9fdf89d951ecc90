"""REST for backends, about users: members of topics, and everything that is kept of somebody."""

from typing import Any

import msgspec
from flask import Blueprint, Response, request
from werkzeug.routing import PathConverter

from notifier.errors import BadRequest, Fault, InvalidMembers, TooManyMemberships
from notifier.http import body
from notifier.http.notifications import Api, require_topics
from notifier.node import Node
from notifier.protocol import channel as channels
from notifier.protocol.inbox_query import read_limit
from notifier.protocol.inbox_request import read_object, unknown_fields

_JSON = "application/json"
_MOST_LISTED = 1000
_LONGEST_NAME = 1600  # bytes of a name in a body: 128 characters, each as two escapes of six

_encode = msgspec.json.Encoder().encode


def create_backend(node: Node, api: Api) -> Blueprint:
    """Return the routes. Names may have a slash in them."""
    backend, blueprint = BackendApi(node, api), Blueprint("backend", __name__)
    blueprint.record_once(lambda setup: setup.app.url_map.converters.update(name=_Name))
    members, user = "/v1/topics/<name:topic>/members", "/v1/users/<name:user>"
    routes: list[tuple[str, str, Any]] = [
        ("GET", members, backend.list_members),
        ("POST", members, backend.change_members),
        ("PUT", f"{members}/<name:user>", backend.add_member),
        ("DELETE", f"{members}/<name:user>", backend.remove_member),
        ("GET", f"{user}/export", backend.export),
        ("DELETE", user, backend.erase),
        ("POST", f"{user}/disconnect", backend.disconnect),
    ]
    for method, path, view in routes:
        blueprint.route(path, methods=[method], merge_slashes=False)(view)
    return blueprint


class _Name(PathConverter):
    """A name may have slashes, and begin with one."""

    part_isolating = False
    regex = ".+?"
    weight = PathConverter.weight


class BackendApi:
    """The views of one node."""

    def __init__(self, node: Node, api: Api) -> None:
        self._settings = node.settings
        self._members = node.members
        self._users = node.users
        self._api = api

    def list_members(self, topic: str) -> Response:
        """Show members of a topic, in the order of their names."""
        self._require_topic(topic)
        limit = read_limit(request.args.get("limit", "100"), _MOST_LISTED)
        found = self._members.page(topic, request.args.get("after", ""), limit)
        return _answer({"members": found, "next": found[-1] if len(found) == limit else None})

    def add_member(self, topic: str, user: str) -> Response:
        """Let a user be a member."""
        self._require_topic(topic)
        _require_name(user)
        if self._members.add(topic, [user]).refused:
            raise TooManyMemberships(f"A user is a member of at most {self._settings.max_memberships} topics.")
        return Response(status=204)

    def remove_member(self, topic: str, user: str) -> Response:
        """Let a user be a member no more."""
        self._require_topic(topic)
        _require_name(user)
        self._members.remove(topic, [user])
        return Response(status=204)

    def change_members(self, topic: str) -> Response:
        """Let some users be members, and others no more."""
        self._require_topic(topic)
        most = self._settings.max_members_per_request
        members = read_object(body.read(request, _LONGEST_NAME * most + 1024))
        faults = unknown_fields(members, ("add", "remove"))
        lists = {name: _names(name, members.get(name, []), faults) for name in ("add", "remove")}
        if not faults and not 0 < sum(map(len, lists.values())) <= most:
            faults.append(Fault("", "too_many", f"Name from 1 to {most} users."))
        if faults:
            raise InvalidMembers(faults=faults[:50])
        removed = self._members.remove(topic, lists["remove"])
        added, refused = self._members.add(topic, lists["add"])
        return _answer({"added": added, "removed": removed, "refused": refused})

    def export(self, user: str) -> Response:
        """Show everything that is kept of a user."""
        self._require_user(user)
        return _answer(self._users.export(user))

    def erase(self, user: str) -> Response:
        """Remove everything of a user."""
        self._require_user(user)
        self._users.erase(user)
        return Response(status=204)

    def disconnect(self, user: str) -> Response:
        """Close all connections of a user."""
        self._require_user(user)
        self._users.disconnect(user)
        return Response(status=202)

    def _require_topic(self, topic: str) -> None:
        require_topics(self._api.authenticate(request, "members"), [channels.of_topic(topic)])
        fault = channels.fault_of_topic(topic)
        if fault:
            raise BadRequest(f"topic: {fault}")

    def _require_user(self, user: str) -> None:
        self._api.authenticate(request, "users")
        _require_name(user)


def _require_name(user: str) -> None:
    fault = channels.fault_of_name(user)
    if fault:
        raise BadRequest(f"user: {fault}")


def _names(member: str, values: Any, faults: list[Fault]) -> list[str]:
    if not isinstance(values, list):
        faults.append(Fault(f"/{member}", "wrong_type", "Expected a list of names."))
        return []
    for index, value in enumerate(values):
        fault = channels.fault_of_name(value) if isinstance(value, str) else "Expected a string."
        if fault:
            faults.append(Fault(f"/{member}/{index}", "invalid_name", fault))
    return list(dict.fromkeys(map(str, values)))


def _answer(document: dict[str, Any]) -> Response:
    return Response(_encode(document), content_type=_JSON)
