"""Responses in memory: whose are cut off when there are too many, and that nothing is counted for ever."""

import random

import pytest

from notifier.errors import RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.responses import ALL, KEY, STRANGERS, USER, Held, Holder, ResponseMemory
from tests.kit.cases import rows

ALICE, BOB, SHOP = Holder(USER, "alice"), Holder(USER, "bob"), Holder(KEY, "shop")


class Worker(ResponseMemory):
    """The memory of a worker with low limits, and the names of the responses that were cut off."""

    def __init__(self, user: int = 100, key: int = 300, total: int = 500) -> None:
        super().__init__(LimitSettings(user_response_bytes=user, key_response_bytes=key, response_bytes=total))
        self.cut: list[str] = []

    def response(self, name: str, holder: Holder = ALICE) -> Held:
        return Held(holder, lambda: self.cut.append(name))

    def sending(self, name: str, size: int, holder: Holder = ALICE) -> Held:
        held = self.response(name, holder)
        self.send(held, size)
        return held


def test_oldest() -> None:
    """Beyond the limit of a holder its oldest responses are cut off; those of others stay."""
    worker = Worker()
    for name, size, holder in [("a", 40, ALICE), ("b", 40, BOB), ("c", 40, ALICE), ("d", 20, ALICE)]:
        worker.sending(name, size, holder)
    assert worker.cut == []
    worker.sending("e", 50)
    assert worker.cut == ["a", "c"] and worker.size == 110
    worker.sending("f", 100)
    assert worker.cut == ["a", "c", "d", "e"] and worker.size == 140


def test_alone() -> None:
    """A response that is longer than the limit is sent, if its holder has no other."""
    worker = Worker()
    worker.sending("a", 400)
    worker.sending("b", 400, BOB)
    assert worker.cut == ["a"]
    worker.sending("c", 50, BOB)
    assert worker.cut == ["a", "b"] and worker.size == 50


def test_sent() -> None:
    """Bytes that were sent no longer count, and a response whose turn comes again is the youngest."""
    worker = Worker()
    first, second = worker.sending("a", 60), worker.sending("b", 40)
    worker.sent(first, 60)
    worker.send(first, 60)
    worker.sending("c", 20)
    assert worker.cut == ["b"]
    worker.sent(second, 40)  # it was cut off within this
    assert worker.size == 80


def test_most() -> None:
    """If all responses together are too much, the holder who has most loses its oldest."""
    worker = Worker(total=250)
    worker.sending("a", 90, BOB)
    for name in ("b", "c"):
        worker.sending(name, 75, SHOP)
    worker.sending("d", 50)
    assert worker.cut == ["b"] and worker.size == 215


def test_strangers() -> None:
    """Requests without credentials count together."""
    worker = Worker()
    for name in ("a", "b", "c"):
        worker.sending(name, 50, STRANGERS)
    assert worker.cut == ["a"]


def test_not_sent() -> None:
    """Responses that wait for the rest of their requests are cut off if all are too much, not those of others."""
    worker = Worker(total=350)
    hogs = [worker.response(name, Holder(KEY, name)) for name in ("x", "y")]
    for hog, size in zip(hogs, (200, 140), strict=True):
        worker.require_room(hog)
        worker.add(hog, size)
    first = worker.sending("a", 10)
    worker.sending("b", 10, BOB)
    assert worker.cut == ["x"] and worker.size == 160
    worker.add(hogs[0], 200)  # it goes on until it notices
    shop = worker.response("shop", SHOP)
    worker.require_room(shop)
    assert worker.cut == ["x", "x"]
    worker.add(hogs[1], 160)
    worker.add(shop, 40)
    with pytest.raises(RateLimited) as caught:
        worker.require_room(worker.response("z", Holder(KEY, "y")))
    assert caught.value.fields["limit"] == KEY
    worker.sent(first, 10)
    worker.require_room(shop)
    assert worker.cut == ["x", "x"] and worker.size == 350
    worker.sending("c", 1)
    assert worker.cut == ["x", "x", "y"]


def test_room() -> None:
    """A response must not become longer if its holder has others and too much, or most of what is too much."""
    worker = Worker(total=350)
    first, second = worker.response("first", SHOP), worker.response("second", SHOP)
    worker.require_room(first)
    worker.add(first, 320)
    worker.require_room(first)
    with pytest.raises(RateLimited) as caught:
        worker.require_room(second)
    assert caught.value.fields["limit"] == KEY and worker.cut == []
    worker.remove(first, 200)
    worker.require_room(second)
    worker.add(second, 100)
    worker.sending("a", 90)
    worker.require_room(first)
    worker.sending("b", 40, BOB)
    with pytest.raises(RateLimited) as caught:
        worker.require_room(first)
    assert caught.value.fields["limit"] == ALL
    worker.forget(second)
    worker.require_room(first)


@rows("seed", range(20))
def test_any_order(seed: int) -> None:
    """In every order nothing is counted twice, no holder has too much, and nothing remains at the end."""
    worker, order = Worker(total=180), random.Random(seed)
    responses = [worker.response(str(number), order.choice([ALICE, BOB, SHOP, STRANGERS])) for number in range(12)]
    sizes: dict[Held, int] = {}
    for _ in range(300):
        held = order.choice(responses)
        if held in sizes:
            worker.sent(held, sizes.pop(held))
        elif order.random() < 0.2:
            worker.forget(held)
        elif held.holder == SHOP and order.random() < 0.5:
            worker.add(held, order.randrange(1, 30))
        else:
            worker.send(held, sizes.setdefault(held, order.randrange(1, 90)))
            assert worker.size <= 180
        assert worker.size == sum(each.size for each in responses)
        for holder, most in ((ALICE, 100), (BOB, 100), (STRANGERS, 100)):
            assert sum(each.size for each in responses if each.holder == holder) <= most
    for held in responses:
        worker.forget(held)
        worker.forget(held)
    assert worker.size == 0 and not worker._accounts
