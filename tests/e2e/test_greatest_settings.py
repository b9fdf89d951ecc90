"""A service that starts with the greatest value of every number."""

import re

import pytest

from notifier.settings import PREFIX, SettingError, Settings
from tests.kit.events import EventStream
from tests.kit.service import Service

NUMBERS = [name for name, item in Settings.described().items() if item.metadata["read"] in (int, float)]
# Each of these has a limit that another setting, or this machine, sets.
OTHERS = ("workers", "min_replicas", "broker_heartbeat", "jwks_refresh")


def greatest(name: str) -> str:
    """Return the greatest value of a setting, which the error for a greater one names."""
    with pytest.raises(SettingError) as caught:
        Settings.from_environ({PREFIX + name.upper(): "9" * 13})
    found = re.search(r"at most (\d+)", str(caught.value))
    assert found, caught.value
    return found[1]


def test_service(user: str) -> None:
    """No value overflows in the kernel, in Redis or in a timer: every way out delivers."""
    values = {name: greatest(name) for name in NUMBERS if name not in OTHERS}
    with Service(workers=1, **values) as service, service.client(user) as client:
        token = service.token(user)
        with EventStream(service, token) as stream:
            stream.receive("welcome")
            answer = service.publish({"to": {"users": [user]}, "title": "x", "data": 1, "collapse_key": "k", "ttl": 60})
            assert answer.status == 201
            assert client.receive("notification")["notification"]["data"] == 1
            assert stream.data(1) == [1]
        headers = {"Authorization": f"Bearer {token}"}
        since = client.welcome["cursor"]
        polled = service.request("GET", f"/v1/stream?since={since}", headers=headers).json["frames"]
        assert answer.json["id"] in [frame.get("notification", {}).get("id") for frame in polled]
        assert client.ask("read", ids=[answer.json["id"]])["changed"]
        listed = service.request("GET", "/v1/inbox", headers=headers).json["items"]
        assert [item["read"] for item in listed] == [True]
