"""Limits of users: inbox actions count by their items."""

import pytest

from notifier.errors import RateExceeded, RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.rates import Rates
from notifier.limits.users import UserLimits
from notifier.protocol.allowance import Rate
from tests.limits.conftest import Clock


def limits_at(clock: Clock, rate: float) -> UserLimits:
    limits = UserLimits(LimitSettings(), 1)
    limits.actions = Rates(limits.actions.limit, Rate.of(rate), clock)
    return limits


@pytest.mark.parametrize(("items", "actions"), [(0, 20), (1, 20), (50, 20), (100, 10), (500, 2), (1000, 1)])
def test_items_of_actions(clock: Clock, items: int, actions: int) -> None:
    """Every 50 items of an action count as one: a user with many of them may send few actions at once."""
    limits = limits_at(clock, 10)
    done = 0
    with pytest.raises(RateLimited) as caught:
        while True:
            limits.actions.take("alice")
            limits.count_items("alice", items)
            done += 1
    assert done == actions and caught.value.fields["limit"] == "user_actions"
    limits.actions.take("bob")


def test_any_action_is_possible(clock: Clock) -> None:
    """An action with more items than the rate allows at once is carried out; the next one has to wait for it."""
    limits = limits_at(clock, 1)
    limits.actions.take("alice")
    limits.count_items("alice", 1000)
    with pytest.raises(RateLimited) as caught:
        limits.actions.take("alice")
    assert caught.value.retry_after == 19
    clock.now += 19
    limits.actions.take("alice")


def test_reading(clock: Clock) -> None:
    """What was read of logs for an inbox counts as replayed bytes. A request that has read too much is refused."""
    limits = UserLimits(LimitSettings(user_replay_rate=1024), 1)
    limits.replay = Rates(limits.replay.limit, Rate.of(1024, 30), clock)
    for _ in range(30):
        limits.count_reading("alice", 1024)
    with pytest.raises(RateLimited) as caught:
        limits.count_reading("alice", 1024)
    assert (caught.value.fields["limit"], caught.value.retry_after) == ("user_replayed_bytes", 1)
    limits.count_reading("bob", 1024)
    with pytest.raises(RateExceeded):
        limits.count_replay("alice", 1)
