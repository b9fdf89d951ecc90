"""Lists of inboxes on a real server: pages, filters and order."""

import threading
from typing import Any

import pytest

from notifier.inbox import listing
from notifier.inbox.listing import PAGE_BYTES, Listed, split
from notifier.protocol import notification
from notifier.protocol.cursor import Cursor
from notifier.protocol.inbox_query import Query
from notifier.protocol.inbox_state import Flags
from tests.kit.waiting import DEADLINE
from tests.kit.worker import FUTURE, Make, Worker


def test_ties(worker: Worker) -> None:
    """Pages of any size form the same list, the newest first, across channels and ties."""
    worker.members.add("t", ["alice"])
    ahead, published = worker.clock.ms + 60_000, set()
    for number in range(25):
        worker.clock.observe(ahead + number // 5)  # each millisecond has several, however slow the machine
        published |= {worker.publish(to) for to in ("alice", "all", "#t")}
    whole = worker.items("alice", limit=100)
    keys = [(item.cursor, item.channel) for item in whole]
    assert keys == sorted(keys, reverse=True)
    assert {notification.id_of(item.body) for item in whole} == published and len(whole) == 75
    for limit in (1, 2, 7, 74, 75):
        assert worker.items("alice", limit=limit) == whole
    cursors = [item.cursor for item in whole]
    assert len({place.ms for place in cursors}) < len(cursors), "no two items share a millisecond"


@pytest.mark.parametrize(
    ("sizes", "limit", "number"),
    [
        ([100] * 30, 20, 20),
        ([100] * 30, 100, 30),
        ([], 20, 0),
        ([65_536] * 30, 100, 16),
        ([65_536] * 30, 5, 5),
        ([PAGE_BYTES + 1] * 3, 20, 1),
        ([100, PAGE_BYTES, 100], 20, 1),
    ],
)
def test_long_notifications(sizes: list[int], limit: int, number: int) -> None:
    """A page has at most a megabyte of notifications, but at least one of them."""
    found = [
        Listed(Cursor(ms, 0), "all", bytes(size), Flags(seen=False, read=False, archived=False))
        for ms, size in enumerate(sizes)
    ]
    assert split(found, limit) == (found[:number], found[number:])


def test_statuses(worker: Worker) -> None:
    """The statuses list unread items, archived ones, and all that are not archived."""
    new, read, archived = (worker.publish("alice") for _ in range(3))
    worker.act("alice", "read", read)
    worker.act("alice", "archive", archived)
    assert worker.ids("alice") == [read, new]
    assert worker.ids("alice", status="unread") == [new]
    assert worker.ids("alice", status="archived") == [archived]


def test_filters(worker: Worker) -> None:
    """Lists are filtered by any of several types, topics and severities; pages are full though few items match."""
    worker.members.add("t", ["alice"])
    worker.members.add("u", ["alice"])
    own = [worker.publish("alice", type="x" if number % 9 else "y") for number in range(60)]
    topic = [worker.publish("#t", type="y", severity="error"), worker.publish("#u", type="z", severity="critical")]
    assert worker.ids("alice", types=frozenset("y"), limit=2) == [topic[0], *own[::9][::-1]]
    assert worker.ids("alice", topics=frozenset("t")) == topic[:1]
    assert worker.ids("alice", topics=frozenset("tu")) == topic[::-1]
    assert worker.ids("alice", severities=frozenset(["error", "critical"])) == topic[::-1]
    assert worker.ids("alice", types=frozenset("yz"), topics=frozenset("u")) == topic[1:]
    assert worker.ids("alice", types=frozenset("no")) == []


def test_few_of_many(worker: Worker) -> None:
    """A filter finds few items among many that do not match, on both kinds of channels."""
    wanted = []
    for number in range(240):
        severity = "critical" if number in (0, 1, 130, 131) else "info"
        id = worker.publish("alice" if number % 2 else "all", severity=severity)
        wanted += [id] if severity == "critical" else []
    for limit in (1, 2, 3, 100):
        assert worker.ids("alice", limit=limit, severities=frozenset({"critical"})) == wanted[::-1]


def pages_of(worker: Worker, user: str, query: Query) -> list[list[str]]:
    """Return the ids of each page of a list."""
    pages = []
    while True:
        page = worker.lists.page(user, query)
        pages.append([notification.id_of(item.body) for item in page.items])
        if page.next is None:
            return pages
        query = query._replace(before=page.next)


@pytest.mark.parametrize("limit", [1, 2, 3, 20])
def test_pages_of_a_filter(worker: Worker, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """However little is read for a page, its pages have every item once, and a page may be empty."""
    monkeypatch.setattr(listing, "MOST_READ", 1)
    monkeypatch.setattr(listing, "_BATCH", 10)
    wanted = []
    for number in range(48):
        severity = "critical" if number in (0, 1, 12, 13, 47) else "info"
        id = worker.publish("alice" if number % 2 else "all", severity=severity)
        wanted += [id] if severity == "critical" else []
    pages = pages_of(worker, "alice", Query(limit=limit, severities=frozenset({"critical"})))
    assert [id for page in pages for id in page] == wanted[::-1]
    assert pages_of(worker, "alice", Query(severities=frozenset({"error"}))) == [[]] * 3


@pytest.mark.parametrize("size", [100, 30_000])
def test_filter_that_nothing_matches(worker: Worker, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A page reads a bounded number of bytes, however much the user has; usual inboxes are read as a whole."""
    most = 1 << 20
    monkeypatch.setattr(listing, "MOST_READ", most)
    monkeypatch.setattr(listing, "_BATCH", 10)
    read: list[int] = []
    execute = worker.store.execute

    def counted(commands: list[bytes], *more: Any, **options: Any) -> list[Any]:
        replies = execute(commands, *more, **options)
        if b"XRANGE" in commands[0]:
            read.append(sum(len(fields[1]) for reply in replies for _, fields in reply))
        return replies

    worker.members.add("t", ["alice"])
    for number in range(60):
        worker.publish("#t" if number % 2 else "alice", data="x" * size)
    monkeypatch.setattr(worker.store, "execute", counted)
    page = worker.lists.page("alice", Query(limit=10, severities=frozenset({"critical"})))
    assert page.items == [] and (page.next is None) == (size == 100)
    assert sum(read) < most + 11 * (size + 1000)
    read.clear()
    assert pages_of(worker, "alice", Query(severities=frozenset({"critical"})))[-1] == []
    assert sum(read) > 60 * size


def test_recalled_between_pages(worker: Worker) -> None:
    """A page continues where the previous one ended, whatever was recalled or published in between."""
    for number in range(10):
        worker.publish("alice" if number % 2 else "all")
    ids = worker.ids("alice")[::-1]
    first = worker.lists.page("alice", Query(limit=4))
    worker.recall(ids[6])
    worker.recall(ids[5])
    worker.publish("alice")
    second = worker.lists.page("alice", Query(limit=4, before=first.next))
    assert [notification.id_of(item.body) for item in second.items] == ids[1:5][::-1]


def test_deep_archive(worker: Worker) -> None:
    """Items are found behind hundreds of archived ones."""
    old = worker.publish("alice")
    worker.publish_each(["alice"] * 250)
    worker.act("alice", "archive", up_to=FUTURE)
    worker.act("alice", "unarchive", old)
    assert worker.ids("alice") == [old]
    assert len(worker.ids("alice", status="archived", limit=100)) == 250


def test_another_place(worker: Worker) -> None:
    """A place in the list of another user is only a place in time."""
    other = [worker.publish("bob") for _ in range(3)]
    page = worker.lists.page("bob", Query(limit=1))
    assert page.next is not None and len(other) == 3
    mine = worker.publish("alice")
    assert worker.ids("alice", before=page.next) == []
    assert worker.ids("alice") == [mine]


def test_cursor(make: Make) -> None:
    """The cursor of a list covers only items in it, however much is published while it is read."""
    worker, publisher = make(), make()
    worker.members.add("t", ["alice"])
    over = threading.Event()

    def publish() -> None:
        while not over.is_set():
            for to in ("alice", "all", "#t"):
                publisher.publish(to)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(40):
            page = worker.lists.page("alice", Query(limit=100))
            worker.act("alice", "read", up_to=page.cursor)
            shown = {(item.cursor, item.channel) for item in page.items}
            oldest = min((item.cursor for item in page.items), default=FUTURE)
            later = worker.lists.page("alice", Query(limit=100)).items
            covered = {(item.cursor, item.channel) for item in later if oldest < item.cursor <= page.cursor}
            assert covered <= shown
    finally:
        over.set()
        thread.join(DEADLINE)
