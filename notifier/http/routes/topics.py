"""REST for backends, about the members of topics. docs/http-api.md describes it."""

from collections.abc import Sequence

from flask import Blueprint, request
from werkzeug import Response

from notifier.audience.members import Members
from notifier.errors import InvalidMembers, TooManyMemberships
from notifier.http import body
from notifier.http.answers import json_answer
from notifier.http.auditor import Auditor
from notifier.http.credentials import Credentials
from notifier.http.names import require_topic, require_user, routes_with_names
from notifier.loop import in_turns
from notifier.protocol import audit
from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants
from notifier.protocol.api_key import ApiKey
from notifier.protocol.faults import Faults
from notifier.protocol.inbox_query import read_limit
from notifier.protocol.request_fields import check_names, read_fields, read_lists
from notifier.settings import InboxSettings

_MOST_LISTED = 1000
_CHANGES = ("add", "remove")
_LONGEST_NAME = 1600  # bytes of a name in a body: 128 characters, each as two escapes of six


class TopicViews:
    """The views of topics."""

    def __init__(self, credentials: Credentials, members: Members, settings: InboxSettings, auditor: Auditor) -> None:
        self._credentials = credentials
        self._members = members
        self._auditor = auditor
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint, members = routes_with_names("topics"), "/v1/topics/<name:topic>/members"
        blueprint.get(members, merge_slashes=False)(self.list_members)
        blueprint.post(members, merge_slashes=False)(self.change_members)
        blueprint.put(f"{members}/<name:user>", merge_slashes=False)(self.add_member)
        blueprint.delete(f"{members}/<name:user>", merge_slashes=False)(self.remove_member)
        return blueprint

    def list_members(self, topic: str) -> Response:
        """Return members of a topic that the key grants, sorted by name."""
        key = self._check(topic)
        limit = read_limit(request.args.get("limit", "100"), _MOST_LISTED)
        after = request.args.get("after")
        # Only members that the key grants are named, also as `next`, and no others are read: there may be a million.
        granted = tuple(map(key.scoped, key.users))
        found = self._members.page(key.scoped(topic), key.scoped(after) if after else "", limit, granted)
        members = list(map(tenants.outward, found))
        return json_answer({"members": members, "next": members[-1] if len(members) == limit else None})

    def add_member(self, topic: str, user: str) -> Response:
        """Make a user a member."""
        key = self._admit_one(topic, user, add=[user])
        if key and self._members.add(key.scoped(topic), [key.scoped(user)]).refused:
            raise TooManyMemberships(f"A user is a member of at most {self._settings.max_memberships} topics.")
        return Response(status=204)

    def remove_member(self, topic: str, user: str) -> Response:
        """Remove a member."""
        key = self._admit_one(topic, user, remove=[user])
        if key:
            self._members.remove(key.scoped(topic), [key.scoped(user)])
        return Response(status=204)

    def change_members(self, topic: str) -> Response:
        """Add and remove several members."""
        key = self._check(topic)
        most = self._settings.max_members_per_request
        lists = _read_change(body.read(request, _LONGEST_NAME * most + 1024), most)
        if not self._admit(key, topic, **lists):
            return json_answer({"added": 0, "removed": 0, "refused": []})
        scoped = {name: list(map(key.scoped, users)) for name, users in lists.items()}
        removed = self._members.remove(key.scoped(topic), scoped["remove"])
        added, refused = self._members.add(key.scoped(topic), scoped["add"])
        return json_answer({"added": added, "removed": removed, "refused": list(map(tenants.outward, refused))})

    def _check(self, topic: str) -> ApiKey:
        key = self._credentials.require_key(request, "members")
        key.require_channels([channels.of_topic(topic)])
        require_topic(topic)
        return key

    def _admit_one(self, topic: str, user: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ApiKey | None:
        """Return the key of a request that changes one member; None: nothing is to be changed."""
        key = self._check(topic)
        require_user(user)
        return key if self._admit(key, topic, add, remove) else None

    def _admit(self, key: ApiKey, topic: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> bool:
        """Reject a change of users that the key does not grant. Otherwise write the audit log, if it changes anything.

        Returns whether it does.
        """
        key.require_users([*add, *remove])
        if not self._members.would_change(key.scoped(topic), *(list(map(key.scoped, each)) for each in (add, remove))):
            return False
        named = {"add": audit.names(add), "remove": audit.names(remove)}
        counts = {"adding": len(add), "removing": len(remove)}
        self._auditor.write(request, key, audit.MEMBERS_CHANGED, topic=topic, **named, **counts)
        return True


def _read_change(body: bytes, most: int) -> dict[str, list[str]]:
    """Return the names to `add` and to `remove`, each once.

    Raises:
        MalformedJson, InvalidMembers
    """
    faults = Faults(InvalidMembers)
    fields = read_fields(body, _CHANGES, most, faults)
    lists = dict(zip(_CHANGES, read_lists(fields, _CHANGES, most, faults), strict=True))
    for change, names in lists.items():
        check_names(change, in_turns(names), channels.fault_of_name, faults)
    if not faults and not any(lists.values()):
        faults.add("", "empty" if fields else "required", "Name a user to add or to remove.")
    faults.check()
    return {change: list(dict.fromkeys(names)) for change, names in lists.items()}
