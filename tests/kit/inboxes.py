"""Requests about inboxes, of a user and of a backend, and a model of an inbox."""

from collections.abc import Mapping
from typing import Any

from tests.kit.service import API_KEY, Answer, Service
from tests.kit.waiting import next_millisecond

FUTURE = "999999999999999-0"
COUNTS = "/v1/inbox/counts"


def ask(
    service: Service, user: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the answer to a user's request."""
    return service.request(method, path, body, {"Authorization": f"Bearer {service.token(user)}"} | dict(headers or {}))


def do(service: Service, user: str, action: str, **target: Any) -> dict[str, Any]:
    """Carry out an inbox action and return the answer."""
    answer = ask(service, user, "POST", f"/v1/inbox/{action}", target)
    assert answer.status == 200, answer.text
    parsed: dict[str, Any] = answer.json
    return parsed


def manage(service: Service, method: str, path: str, body: Any = None) -> Answer:
    """Return the answer to a backend's request."""
    answer = service.request(method, path, body, {"Authorization": f"Bearer {API_KEY}"})
    assert answer.status < 300, answer.text
    return answer


def publish(service: Service, *to: str, **members: Any) -> str:
    """Publish to users, topics (`#orders`) or `all`, and return the id in a later millisecond.

    Later notifications are newer in lists, and the cursors of lists include this one.
    """
    topics = [name[1:] for name in to if name.startswith("#")]
    users = [name for name in to if name != "all" and not name.startswith("#")]
    answer = service.publish({"to": {"users": users, "topics": topics, "all": "all" in to}, "title": "x", **members})
    assert answer.status == 201, answer.text
    next_millisecond()
    return str(answer.json["id"])


class Copy:
    """A copy of a notification in one channel: its cursor and its flags."""

    def __init__(self, cursor: str) -> None:
        ms, _, seq = cursor.partition("-")
        self.place = (int(ms), int(seq))
        self.flags: set[str] = set()


class Model:
    """The published notifications, with all actions applied in the order of their revisions."""

    ACTIONS = {"seen": "s", "read": "rs", "unread": "ra", "archive": "ars", "unarchive": "a"}

    def __init__(self, user: str) -> None:
        self.order = [f"user:{user}", "all", f"topic:{user}"]
        self.items: dict[str, dict[str, Copy]] = {}
        self.keys: dict[str, list[str]] = {}
        self.recalled: set[str] = set()

    def carry_out(self, change: dict[str, Any]) -> None:
        """Apply an action to the copies that it names."""
        flags = self.ACTIONS[change["action"]]
        for id, copies in self.items.items():
            for copy in copies.values():
                if "ids" in change:
                    is_meant = id in change["ids"]
                else:
                    ms, _, seq = change["up_to"].partition("-")
                    is_meant = copy.place <= (int(ms), int(seq))
                if is_meant:
                    copy.flags = (
                        copy.flags - set(flags) if change["action"].startswith("un") else copy.flags | set(flags)
                    )

    def inbox(self) -> dict[str, str]:
        """Return the flags of each item."""
        gone = set(self.recalled)
        for ids in self.keys.values():
            gone |= set(sorted(ids, key=lambda id: min(copy.place for copy in self.items[id].values()))[:-1])
        first = {
            id: next(copies[name] for name in self.order if name in copies)
            for id, copies in self.items.items()
            if id not in gone
        }
        return {id: "".join(sorted(copy.flags)) for id, copy in first.items()}
