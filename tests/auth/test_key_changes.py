"""Changes of API keys on a real server: create, rotate, revoke, their retries, and who may do it."""

import time
from collections.abc import Callable

import pytest

from notifier.auth.api_keys import ApiKeys
from notifier.auth.key_changes import KeyChanges, Made, Retry
from notifier.broker.key_list import KeyList, Stored
from notifier.errors import Forbidden, IdempotencyMismatch, KeyChanged, KeyRotating, NotFound, TooManyKeys
from notifier.protocol.api_key import ApiKey
from notifier.protocol.key_record import KeyRecord
from notifier.protocol.key_request import KeyRequest
from notifier.protocol.share import Share
from notifier.server.embedded_valkey import EmbeddedValkey
from tests.auth.conftest import ACME, ROOT, SHOP, KeyWorker
from tests.kit.valkey import connected

Make = Callable[[], KeyWorker]


class TestRotation:
    def test_overlap(self, make: Make, advance: Callable[[float], None]) -> None:
        """Both secrets are accepted during the overlap, and only the new one after it."""
        worker = make()
        made = worker.create()
        new = worker.rotate(made, overlap=1000)
        advance(900)
        assert worker.accepts(made.text) and worker.accepts(new.text)
        advance(1000)
        assert not worker.accepts(made.text)
        assert worker.accepts(new.text)
        assert worker.accepts(worker.rotate(made, overlap=1).text)

    def test_at_once(self, make: Make) -> None:
        """Without an overlap all other secrets end at once."""
        worker = make()
        first = worker.create()
        second = worker.rotate(first)
        third = worker.rotate(first, overlap=0)
        assert [worker.accepts(each.text) for each in (first, second, third)] == [False, False, True]

    def test_twice(self, make: Make) -> None:
        """A second rotation must not end the secret that is still in use."""
        worker = make()
        made = worker.create()
        worker.rotate(made)
        with pytest.raises(KeyRotating):
            worker.rotate(made)
        assert worker.accepts(made.text)

    def test_retry(self, make: Make) -> None:
        """If the answer was lost, a retry returns another secret, and the secret in use stays."""
        worker = make()
        made, retry = worker.create(), Retry("root:1", b"{}")
        lost = worker.rotate(made, retry=retry)
        again = worker.rotate(made, retry=retry)
        assert [worker.accepts(each.text) for each in (made, lost, again)] == [True, False, True]
        with pytest.raises(KeyRotating):
            worker.rotate(made, retry=Retry("root:2", b"{}"))

    def test_ended(self, make: Make, advance: Callable[[float], None]) -> None:
        """A key that has ended gets no new secret."""
        worker = make()
        made = worker.create()
        worker.revoke(made)
        with pytest.raises(NotFound):
            worker.rotate(made)
        expired = worker.create(SHOP._replace(expires_in=1000))
        advance(1000)
        with pytest.raises(NotFound):
            worker.rotate(expired)

    def test_changed_meanwhile(self, make: Make) -> None:
        """Of two rotations at the same time, one is done."""
        worker, other = make(), make()
        made = worker.create()
        found = other.stored(made)
        new = worker.rotate(made)
        with pytest.raises(KeyChanged):
            other.changes.rotate(found, other.changes.new_secret(found, 60, Retry()))
        assert worker.accepts(new.text) and worker.accepts(made.text)


class TestCreation:
    def test_create(self, make: Make) -> None:
        """Keys differ, and their records have the creator and the time."""
        worker = make()
        first, second = worker.create(), worker.create()
        assert first.record.id != second.record.id and first.text != second.text
        assert first.record.created_by == "root"
        assert abs(first.record.created / 1000 - time.time()) < 60

    def test_secret_is_not_stored(self, make: Make, valkey: EmbeddedValkey, user: str) -> None:
        """Redis has neither the text of a key nor its secret."""
        worker = make()
        made = worker.create()
        new = worker.rotate(made)
        with connected(valkey) as client:
            stored = client.hgetall(f"{user}:{{keys}}:records")
            everything = b" ".join(client.dump(name) or b"" for name in client.keys(f"{user}:*"))
        assert made.record.digest.encode() in b"".join(stored.values())
        for text in (made.text, new.text):
            assert text.split("_")[-1].encode() not in everything + b"".join(stored.values())

    def test_retry(self, make: Make) -> None:
        """If the answer was lost, a retry returns the same key with another secret."""
        worker = make()
        retry = Retry("root:1", b"body")
        lost, again = worker.create(retry=retry), worker.create(retry=retry)
        assert lost.record.id == again.record.id
        assert not worker.accepts(lost.text)
        assert worker.accepts(again.text)
        assert len(worker.list.page("", 10)) == 1

    def test_no_retry(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """The idempotency key of another request, or one from long ago, changes nothing."""
        worker = make()
        made = worker.create(retry=Retry("root:1", b"body"))
        with pytest.raises(IdempotencyMismatch):
            worker.create(retry=Retry("root:1", b"other"))
        with monkeypatch.context() as patch:
            patch.setattr("notifier.auth.key_changes._RETRIED", -1)
            with pytest.raises(IdempotencyMismatch):
                worker.create(retry=Retry("root:1", b"body"))
        worker.rotate(made)
        with pytest.raises(IdempotencyMismatch):
            worker.create(retry=Retry("root:1", b"body"))
        assert worker.accepts(made.text)

    def test_no_retry_of_what_has_ended(self, make: Make) -> None:
        """A retry does not restore a revoked key."""
        worker = make()
        made = worker.create(retry=Retry("root:1", b"body"))
        worker.revoke(made)
        with pytest.raises(IdempotencyMismatch):
            worker.create(retry=Retry("root:1", b"body"))


class TestOthers:
    def test_revoke(self, make: Make) -> None:
        """A second revocation is done already, also if another request has changed the key in between."""
        worker = make()
        made = worker.create()
        before = worker.stored(made)
        worker.rotate(made)
        worker.changes.revoke(before)
        worker.changes.revoke(before)
        worker.revoke(made)
        assert not worker.accepts(made.text)
        assert worker.stored(made).record.revoked

    def test_limited(self, make: Make) -> None:
        """A limited key makes keys within its limits, and knows of no others."""
        worker = make()
        own = SHOP._replace(topics=("acme:orders",), users=("acme:*",))
        made, foreign = worker.create(own, ACME), worker.create()
        for request in (SHOP, own._replace(topics=("*",)), own._replace(users=("acme:*", "bob"))):
            with pytest.raises(Forbidden):
                worker.create(request, ACME)
        assert [each.record.id for each in worker.changes.page(ACME, "", 10)[0]] == [made.record.id]
        assert len(worker.changes.page(ROOT, "", 10)[0]) == 2
        for id in (foreign.record.id, "unknown"):
            with pytest.raises(NotFound):
                worker.changes.find(ACME, id)
        assert worker.changes.find(ACME, made.record.id)

    def test_tenants(self, make: Make) -> None:
        """A key of a tenant makes and knows keys of it only; an unlimited one of the default tenant those of all."""
        worker = make()
        own, beta = ROOT._replace(tenant="acme"), ROOT._replace(tenant="beta")
        made = worker.create(by=own)
        assert (made.record.tenant, worker.keys.find(made.text).tenant) == ("acme", "acme")
        assert worker.create(SHOP._replace(tenant="beta")).record.tenant == "beta"
        assert worker.create(SHOP._replace(tenant="acme"), own).record.tenant == "acme"
        for by, request in [(own, SHOP._replace(tenant="beta")), (ACME, SHOP._replace(tenant="beta", topics=()))]:
            with pytest.raises(Forbidden):
                worker.create(request, by)
        for by in (beta, ACME):
            with pytest.raises(NotFound):
                worker.changes.find(by, made.record.id)
        for by in (own, ROOT):
            assert worker.changes.find(by, made.record.id)
        assert {each.record.tenant for each in worker.changes.page(own, "", 10)[0]} == {"acme"}
        assert {each.record.tenant for each in worker.changes.page(ROOT, "", 10)[0]} == {"acme", "beta"}

    def test_holder(self, make: Make) -> None:
        """The keys that a limited key creates, and those that they create, count in its share."""
        worker = make()
        own = SHOP._replace(scopes=("admin",), topics=("acme:*",), users=("acme:*",))
        first = worker.create(own).record.api_key
        second = worker.create(own, first).record.api_key
        third = worker.keys.find(worker.create(own, second).text)
        assert {each.share for each in (first, second, third)} == {Share("", first.id)}
        assert worker.create().record.api_key.share == Share()
        assert worker.create(SHOP._replace(tenant="beta")).record.api_key.share == Share("beta")
        assert worker.rotate(worker.create(own, ACME)).record.holder == "acme"

    def test_pages(self, make: Make) -> None:
        """All keys are listed, page by page, also if some pages have none that may be shown."""
        worker = make()
        for _ in range(5):
            worker.create()
        made = [worker.create(SHOP._replace(topics=("acme:a",), users=())).record.id for _ in range(2)]
        for by, expected in ((ROOT, 7), (ACME, 2)):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                page, after = worker.changes.page(by, after, 2)
                found += [each.record.id for each in page]
            assert len(found) == expected
            assert set(made) <= set(found)


class Listed(KeyList):
    """Some records, without a server."""

    def __init__(self, *records: KeyRecord) -> None:
        self._found = {record.id: Stored(record, record.encode()) for record in records}
        self.sizes: list[int] = []  # of the pages

    def page(self, after: str, limit: int) -> list[Stored]:
        self.sizes.append(limit)
        return [each for id, each in self._found.items() if id > after][:limit]

    def get(self, id: str) -> Stored | None:
        return self._found.get(id)

    def put(self, record: KeyRecord, before: bytes = b"", *, is_operator: bool = False) -> bool:
        known = self._found.get(record.id)
        if before != (known.text if known else b""):
            return False
        self._found[record.id] = Stored(record, record.encode())
        return True

    def since(self, version: int) -> tuple[int, list[KeyRecord]]:
        return version + 1, [each.record for each in self._found.values()]


def changes_of(stored: Listed) -> KeyChanges:
    return KeyChanges(stored, ApiKeys((), stored), 2)


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
def test_ids_of_others(limit: int) -> None:
    """A page never ends with a key that may not be shown: its id would be known then."""
    records = [
        KeyRecord(f"{number:04}", "", (), ("*",), ("*",), 1, "", "", tenant="acme" if number % 300 == 7 else "")
        for number in range(1000)
    ]
    changes, by = changes_of(Listed(*records)), ROOT._replace(tenant="acme")
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = changes.page(by, after, limit)
        found += [each.record.id for each in page]
        assert after is None or after == found[-1]
    assert found == ["0007", "0307", "0607", "0907"]


def test_long_records() -> None:
    """Pages of keys with many grants are shorter, and few records are read at once."""
    grants = tuple(f"{number:0127}*" for number in range(100))
    records = [KeyRecord(f"{number:04}", "", (), grants, grants, 1, "", "") for number in range(250)]
    stored = Listed(*records)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = changes_of(stored).page(ROOT, after, 1000)
        assert sum(len(each.text) for each in page) < 1_100_000
        found += [each.record.id for each in page]
    assert found == [record.id for record in records]
    assert max(stored.sizes) == 100


def test_keys_of_a_tenant() -> None:
    """Keys count within their tenant. Keys that have ended do not count, and a retry creates no further key."""
    changes, acme, beta = changes_of(Listed()), ROOT._replace(tenant="acme"), ROOT._replace(tenant="beta")

    def create(by: ApiKey, retry: Retry | None = None, request: KeyRequest = SHOP) -> Made:
        retry = retry or Retry()
        return changes.create(by, changes.new_id(retry), request, retry)

    retry = Retry("acme:1", b"{}")
    first, _ = create(acme, retry), create(acme)
    assert create(acme, retry).record.id == first.record.id
    for by, request in [(acme, SHOP), (ROOT, SHOP._replace(tenant="acme"))]:
        with pytest.raises(TooManyKeys, match="at most 2"):
            create(by, request=request)
    assert all(create(by) for by in (beta, ROOT, ROOT, ROOT))
    changes.revoke(changes.find(acme, first.record.id))
    assert create(acme)


def test_keys_of_a_limited_key() -> None:
    """The keys that a limited key has created count together, also those that these have created."""
    changes, own = changes_of(Listed()), SHOP._replace(scopes=("admin",), topics=("acme:*",), users=("acme:*",))

    def create(by: ApiKey) -> Made:
        return changes.create(by, changes.new_id(Retry()), own, Retry())

    second = create(create(ACME).record.api_key)
    for by in (ACME, second.record.api_key):
        with pytest.raises(TooManyKeys, match="at most 2"):
            create(by)
    assert all(create(by) for by in (ROOT, ROOT, ROOT, ACME._replace(id="other")))
