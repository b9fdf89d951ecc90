"""Catching up: what a connection missed, merged with what is published during the replay."""

from random import Random, randrange

import pytest

from notifier.protocol.entry import EPHEMERAL, HISTORY, NOTIFICATION
from tests.kit.cases import every
from tests.kit.chance import share
from tests.protocol.orders import Action, do, explained, outcomes
from tests.protocol.world import PLENTY, SKEW, A, B, C, World

HISTORY_OF_BOTH = [(A, 1), (B, 2), (B, 3), (A, 4), (B, 5)]
PUBLISHED = [("publish", A), ("publish", B)]
STEP, RECEIVE = ("step",), ("receive",)


class TestAllInterleavings:
    """Small histories, in every order in which their parts can come."""

    @pytest.mark.parametrize("size", [1, 2, 100])
    @every(since=[None, 0, 1, 4], max_aside=[PLENTY, 10, 0])
    def test_publish(self, since: int | None, size: int, max_aside: int) -> None:
        """Whenever something is published and received, everything after the cursor is sent once and in order."""
        world = World(HISTORY_OF_BOTH, since, page=size, max_aside=max_aside)
        for end in outcomes(world, PUBLISHED, [RECEIVE] * 2, [STEP] * 4):
            assert {name for name, _ in end.promises.sent} == {A, B}
            assert not end.promises.named_lost

    @pytest.mark.parametrize(("size", "max_aside"), [(1, PLENTY), (2, 10)])
    @pytest.mark.parametrize("entries", [0, 1])
    def test_block(self, size: int, max_aside: int, entries: int) -> None:
        """Wherever the socket blocks and whenever it reads again, nothing is missing and nothing is sent twice."""
        world = World(HISTORY_OF_BOTH, 1, page=size, max_aside=max_aside)
        blocked = [("squeeze", entries), ("relieve",), ("squeeze", entries)]
        assert list(outcomes(world, PUBLISHED, [("receive", 2)], [STEP] * 4, blocked))

    def test_ephemeral(self) -> None:
        """An entry in no log is sent at most once, in its place, and hides nothing that is in the log."""
        published = [("publish", A), ("publish", A, EPHEMERAL), ("publish", A)]
        world = World([(A, 1)], 0, channels=[A], max_aside=20)
        ends = outcomes(world, published, [RECEIVE] * 3, [STEP] * 3)
        orders = {tuple(entry.kind for _, entry in end.promises.sent)[:-1] for end in ends}
        full = (NOTIFICATION, NOTIFICATION, EPHEMERAL, NOTIFICATION)
        assert full in orders, "nobody ever received it"
        assert {tuple(kind for kind in order if kind != EPHEMERAL) for order in orders} >= {full[:2] + full[3:]}

    @pytest.mark.parametrize(("size", "steps"), [(1, 7), (2, 4)])
    def test_trim(self, size: int, steps: int) -> None:
        """Whenever entries fall out, either they were sent or their channel is named, once for each that fell."""
        world = World([(A, 2), (B, 3), (A, 4)], 1, page=size)
        ends = outcomes(world, PUBLISHED[:1], [RECEIVE], [STEP] * steps, [("trim", A), ("trim", A)])
        assert {tuple(end.promises.named_lost) for end in ends} == {(), (A,)}

    @pytest.mark.parametrize(
        ("channels", "name", "since"),
        [
            pytest.param([A], B, 2, id="new"),
            pytest.param([A], A, 2, id="that is read"),
            pytest.param([A, B], A, 4, id="that is up to date"),
        ],
    )
    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    def test_subscribe(self, channels: list[str], name: str, since: int, max_aside: int) -> None:
        """Whenever a channel is added, or asked for once more, what it had since the cursor is sent."""
        others = [other for other in (A, B) if other not in channels]
        world = World(HISTORY_OF_BOTH, since, channels=channels, others=others, max_aside=max_aside)
        assert list(outcomes(world, [("subscribe", name, 0)], PUBLISHED, [RECEIVE] * 2, [STEP] * 3))

    @pytest.mark.parametrize("since", [None, 4])
    @pytest.mark.parametrize("again", [0, 3, 5])
    def test_subscribe_twice(self, since: int | None, again: int) -> None:
        """Whenever a channel is asked for with another cursor, nothing is left out before the later one."""
        asked = [("subscribe", A, 1), ("subscribe", A, again)]
        world = World(HISTORY_OF_BOTH, since, channels=[B], others=[A], page=1)
        assert list(outcomes(world, asked, PUBLISHED, [RECEIVE] * 2, [STEP] * 3))

    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    @pytest.mark.parametrize("size", [1, 100])
    def test_unsubscribe_and_subscribe(self, max_aside: int, size: int) -> None:
        """Whenever a channel is left and asked for from the same cursor, everything after it is sent."""
        asked = [("subscribe", A, 1), ("unsubscribe", A), ("subscribe", A, 1)]
        world = World(HISTORY_OF_BOTH, 5, channels=[B], others=[A], max_aside=max_aside, page=size)
        assert list(outcomes(world, asked, PUBLISHED, [RECEIVE] * 2, [STEP] * 3))

    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    @pytest.mark.parametrize("since", [None, 3])
    def test_lose_subscription(self, max_aside: int, since: int | None) -> None:
        """Whenever the worker loses Redis, and whenever it has it again, what it did not receive is read."""
        redis = [("lose_subscription",), ("listen",), ("confirm",)]
        world = World(HISTORY_OF_BOTH, since, max_aside=max_aside)
        assert list(outcomes(world, PUBLISHED, [RECEIVE], [STEP] * 3, redis))

    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    @pytest.mark.parametrize("since", [None, 3])
    def test_first_subscription(self, max_aside: int, since: int | None) -> None:
        """Whenever the subscription of new channels is confirmed, what is published later is sent."""
        world = World(HISTORY_OF_BOTH, since, max_aside=max_aside, is_confirmed=False)
        assert list(outcomes(world, [*PUBLISHED, ("publish", A)], [RECEIVE], [STEP] * 3, [("listen",), ("confirm",)]))

    @pytest.mark.parametrize("since", [None, 3])
    def test_gap(self, since: int | None) -> None:
        """Whenever a message gets lost, the next one reveals it."""
        published = [("publish", A), ("publish", B), ("miss",), ("publish", A), ("publish", B)]
        world = World(HISTORY_OF_BOTH, since)
        assert list(outcomes(world, published, [RECEIVE] * 2, [STEP] * 3))

    @pytest.mark.parametrize("since", [None, 4])
    @pytest.mark.parametrize("half", ["begin_fan_out", "pause_fan_out"])
    def test_pause(self, since: int | None, half: str) -> None:
        """In any order of events between two halves of a fan-out, nothing is missing and nothing is sent twice."""
        fan_out = [(half, 2), ("end_fan_out",)]
        world = World(HISTORY_OF_BOTH, since, others=[C])
        assert list(outcomes(world, PUBLISHED, fan_out, [STEP] * 3, [("subscribe", C, 0), ("squeeze", 0)]))


def any_world(random: Random) -> World:
    history = [(random.choice((A, B, C)), random.randint(1, 20)) for _ in range(random.randint(0, 20))]
    return World(
        sorted(history, key=lambda item: item[1]),
        random.choice((None, random.randint(0, 21))),
        channels=[A, B, C],
        overlap=random.randint(0, 5),
        page=random.randint(1, 4),
        max_aside=random.choice((0, 10, 30, PLENTY)),
        remembers=random.choice((0, 1000, PLENTY)),
        is_confirmed=random.random() < 0.8,
    )


def any_action(random: Random) -> Action:
    """Return an action that may happen; actions of others, and of the worker on them, happen most often."""
    name = random.choice((A, B, C))
    common: list[Action] = [
        ("step",),
        ("step",),
        ("publish", name, random.choice((NOTIFICATION, HISTORY, EPHEMERAL)), random.randint(0, SKEW)),
        ("receive", random.randint(1, 5)),
    ]
    rare: list[Action] = [
        ("begin_fan_out", random.randint(1, 5)),
        ("pause_fan_out", random.randint(1, 5)),
        ("squeeze", random.randint(0, 3)),
        ("relieve",),
        ("relieve",),
        ("reconnect",),
        ("lose_subscription",),
        ("listen",),
        ("confirm",),
        ("trim", name),
        ("withdraw", name, random.randint(0, 9)),
        ("unsubscribe", B),
        ("subscribe", B, random.randint(0, 21)),
        ("subscribe", B, random.randint(0, 60)),
    ]
    return random.choice(random.choice((common, rare)))


@pytest.mark.parametrize("batch", range(4))
def test_random_histories(batch: int) -> None:
    """Long histories of three channels keep every promise, whatever their clocks, bounds and sockets do."""
    for _ in range(share(500)):
        seed = randrange(10**9)
        random = Random(seed)
        world = any_world(random)
        actions = [any_action(random) for _ in range(random.randint(20, 60))]
        with explained(seed, actions):
            for action in actions:
                do(world, action)
            world.settle()
