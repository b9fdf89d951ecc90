"""Records of API keys: rotation, revocation, and what is shown."""

import json

from notifier.protocol import key_record
from notifier.protocol.api_key import ApiKey
from notifier.protocol.key_record import KEPT, KeyRecord

RECORD = KeyRecord("id", "Shop", ("publish",), ("orders",), ("acme:*",), 1000, "root", "aa")
HOUR = 3_600_000


def test_stored() -> None:
    """A stored record is decoded unchanged; unknown fields of a later version are ignored."""
    full = RECORD.rotate("bb", 2000, HOUR, "r").revoke(3000)
    for record in (RECORD, full):
        assert key_record.decode(record.encode()) == record
    later = json.dumps(json.loads(RECORD.encode()) | {"quota": {"per": "day"}})
    assert key_record.decode(later.encode()) == RECORD


def test_key() -> None:
    """The key has the grants of the request, and no secret."""
    assert RECORD.api_key == ApiKey("id", "", frozenset({"publish"}), ("orders",), ("acme:*",), "Shop")


def test_rotation() -> None:
    """The secret before is accepted until the end of the overlap; there are never more than two."""
    first = RECORD.rotate("bb", 2000, HOUR, "r")
    assert (first.digest, first.old_digest, first.old_until, first.rotated) == ("bb", "aa", 2000 + HOUR, 2000)
    assert first.is_rotating(2000 + HOUR - 1) and not first.is_rotating(2000 + HOUR)
    second = first.rotate("cc", 3000, HOUR, "s")
    assert (second.digest, second.old_digest) == ("cc", "bb")
    at_once = first.rotate("dd", 3000, 0, "t")
    assert (at_once.digest, at_once.old_digest, at_once.is_rotating(3000)) == ("dd", "", False)


def test_replaced() -> None:
    """A secret that no client has received is replaced, and the previous one is kept."""
    replaced = RECORD.rotate("bb", 2000, HOUR, "r").replace_secret("cc")
    assert (replaced.digest, replaced.old_digest, replaced.request) == ("cc", "aa", "r")


def test_revoked() -> None:
    """A revoked key has no secrets; a second revocation changes nothing."""
    revoked = RECORD.rotate("bb", 2000, HOUR, "r").revoke(3000)
    assert (revoked.revoked, revoked.digest, revoked.old_digest, revoked.is_rotating(3000)) == (3000, "", "", False)
    assert revoked.revoke(4000) == revoked


def test_forgotten() -> None:
    """A key that can be used is kept; one that has ended is listed for some time."""
    assert RECORD.forgotten_at == 0
    expiring = KeyRecord("id", "Shop", (), (), (), 1000, "root", "aa", expires=5000)
    assert expiring.forgotten_at == 5000 + KEPT
    assert expiring.revoke(3000).forgotten_at == 3000 + KEPT


def test_document() -> None:
    """Everything is shown but digests."""
    shown = RECORD.rotate("bb", 2000, HOUR, "r").document(3000, 1_800_000_000_000)
    assert shown == {
        "id": "id",
        "name": "Shop",
        "tenant": None,
        "scopes": ["publish"],
        "topics": ["orders"],
        "users": ["acme:*"],
        "test": False,
        "created_at": "1970-01-01T00:00:01.000Z",
        "created_by": "root",
        "expires_at": None,
        "rotated_at": "1970-01-01T00:00:02.000Z",
        "old_secret_until": "1970-01-01T01:00:02.000Z",
        "revoked_at": None,
        "last_used_at": "2027-01-15T08:00:00.000Z",
    }
    assert RECORD.document(0)["last_used_at"] is None
