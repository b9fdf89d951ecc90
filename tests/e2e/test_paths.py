"""Names of users and topics in paths."""

from urllib.parse import quote

import pytest

from tests.kit.service import API_KEY, Service

BACKEND = {"Authorization": f"Bearer {API_KEY}"}


@pytest.mark.parametrize("name", ["org/alice", "org//alice", "alice/", "/alice", "a/export", "é%2F?#"])
def test_names(service: Service, name: str) -> None:
    """A name may contain slashes and other separators of a path."""
    path = quote(name, safe="")
    members = f"/v1/topics/{path}/members"
    assert service.request("PUT", f"{members}/{path}", headers=BACKEND).status == 204
    assert service.request("GET", members, headers=BACKEND).json["members"] == [name]
    export = service.request("GET", f"/v1/users/{path}/export", headers=BACKEND).json
    assert (export["user"], export["topics"]) == (name, [name])
    assert service.request("POST", f"/v1/users/{path}/disconnect", headers=BACKEND).status == 202
    assert service.request("DELETE", f"{members}/{path}", headers=BACKEND).status == 204
    assert service.request("GET", members, headers=BACKEND).json["members"] == []
    assert service.request("DELETE", f"/v1/users/{path}", headers=BACKEND).status == 204
