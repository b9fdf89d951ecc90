"""`dry_run=explain` predicts what happens."""

import pytest

from tests.kit.service import API_KEY, JSON, Service

BACKEND = {"Authorization": f"Bearer {API_KEY}", "Content-Type": JSON}


@pytest.mark.parametrize("retain", ["history", "none"])
def test_only_the_inbox_is_muted(service: Service, user: str, retain: str) -> None:
    """A mute does not apply to notifications outside the inbox, and the explanation agrees."""
    topic = f"topic-of-{user}"
    token = {"Authorization": f"Bearer {service.token(user)}"}
    service.request("PUT", f"/v1/topics/{topic}/members/{user}", headers=BACKEND)
    service.request("PUT", "/v1/inbox/mutes", {"topics": [topic]}, token)
    body = {"to": {"topics": [topic]}, "title": "Hello", "retain": retain}
    with service.client(user) as client:
        answer = service.request("POST", "/v1/notifications?dry_run=explain", body, BACKEND)
        [member] = answer.json["recipients"][0]["members"]
        assert (member["reason"], member["pushed"]) == ("connected", True)
        service.publish(body)
        assert client.receive("notification")["notification"]["title"] == "Hello"
