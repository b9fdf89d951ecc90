"""Records of managed API keys, as they are stored: what a key may do, and digests of its secrets."""

import msgspec

from notifier.protocol import notification
from notifier.protocol.api_key import SCOPES, ApiKey

KEPT = 30 * 86_400_000  # ms for which a key is listed that was revoked or has expired
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.decode


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A managed key. Times are in Unix ms; 0: never.

    `digest` is that of the newest secret. After a rotation `old_digest` is that of the secret before, which is accepted
    until `old_until`. `request` identifies the request that made the newest secret, so that a retry replaces it.
    `holder` is the limited key in whose share this one counts.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    topics: tuple[str, ...]
    users: tuple[str, ...]
    created: int
    created_by: str
    digest: str
    expires: int = 0
    is_test: bool = False
    rotated: int = 0
    old_digest: str = ""
    old_until: int = 0
    revoked: int = 0
    request: str = ""
    tenant: str = ""
    holder: str = ""

    @property
    def forgotten_at(self) -> int:
        """When the record is removed, in Unix ms; 0: never, because the key can still be used."""
        ended = self.revoked or self.expires
        return ended + KEPT if ended else 0

    @property
    def group(self) -> str:
        """The group in which the key is counted: the keys of its tenant, or those that a limited key has created."""
        return self.tenant or f"/{self.holder}"

    @property
    def api_key(self) -> ApiKey:
        """The permissions of a request with the key."""
        scopes = frozenset(self.scopes)
        return ApiKey(self.id, "", scopes, self.topics, self.users, self.name, self.tenant, self.holder)

    def encode(self) -> bytes:
        """Return the record as it is stored."""
        return _encode(self)

    def is_rotating(self, now: int) -> bool:
        """Return whether two secrets are accepted at `now`."""
        return self.old_until > now

    def rotate(self, digest: str, now: int, overlap: int, request: str) -> "KeyRecord":
        """Return the record with a new secret. The newest one so far is accepted for `overlap` more ms."""
        return msgspec.structs.replace(
            self,
            digest=digest,
            rotated=now,
            old_digest=self.digest if overlap else "",
            old_until=now + overlap if overlap else 0,
            request=request,
        )

    def replace_secret(self, digest: str) -> "KeyRecord":
        """Return the record with another newest secret, because nobody has received the one so far."""
        return msgspec.structs.replace(self, digest=digest)

    def revoke(self, now: int) -> "KeyRecord":
        """Return the record of a revoked key, which has no secrets."""
        return msgspec.structs.replace(self, revoked=self.revoked or now, digest="", old_digest="", old_until=0)

    def document(self, now: int, used: int = 0) -> dict[str, object]:
        """Return what may be shown of the key. `used` is when it was last used."""
        return {
            "id": self.id,
            "name": self.name,
            "tenant": self.tenant or None,
            "scopes": list(self.scopes),
            "topics": list(self.topics),
            "users": list(self.users),
            "test": self.is_test,
            "created_at": _time(self.created),
            "created_by": self.created_by,
            "expires_at": _time(self.expires),
            "rotated_at": _time(self.rotated),
            "old_secret_until": _time(self.old_until if self.is_rotating(now) else 0),
            "revoked_at": _time(self.revoked),
            "last_used_at": _time(used),
        }


def of_settings(key: ApiKey) -> KeyRecord:
    """Return the record of a key that is in the settings, as far as there is one."""
    scopes = tuple(scope for scope in SCOPES if scope in key.scopes)
    return KeyRecord(key.id, key.name, scopes, key.topics, key.users, 0, "settings", "", tenant=key.tenant)


def decode(text: bytes) -> KeyRecord:
    """Return the record that a text stores."""
    return _decode(text, type=KeyRecord)


def _time(ms: int) -> str | None:
    return notification.rfc3339(ms / 1000) if ms else None
