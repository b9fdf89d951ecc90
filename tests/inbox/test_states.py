"""States: what a worker knows about inboxes, and when it asks Redis."""

from collections.abc import Callable, Iterable

import pytest

from notifier.connections.hub import Channel
from notifier.errors import BrokerUnavailable
from notifier.inbox.states import InboxStates, KnownInbox, disconnected_at, known, user_of
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import NOTHING, InboxState


def view(unread: int = 0, unseen: int = 0, revision: int = 0, expires: int = 0) -> InboxView:
    return InboxView(NOTHING._replace(unread=unread, unseen=unseen, revision=revision, expires=expires), {})


class TestSent:
    def test_never(self) -> None:
        """Before anything was sent everything is news, and anything may be unread."""
        inbox = KnownInbox()
        assert (inbox.was_sent, inbox.may_have_unread, inbox.differs(view())) == (False, True, True)

    def test_differs(self) -> None:
        """Each of counts, revision and expiry makes a difference; a view of the same makes none."""
        inbox = KnownInbox()
        inbox.note_sent(view(2, 3, 4, 5))
        assert inbox.was_sent
        assert not inbox.differs(view(2, 3, 4, 5))
        others = [view(0, 3, 4, 5), view(2, 0, 4, 5), view(2, 3, 0, 5), view(2, 3, 4, 0)]
        assert all(inbox.differs(each) for each in others)

    def test_revision(self) -> None:
        """`note_sent` returns whether the revision differs from the one sent before."""
        inbox = KnownInbox()
        assert inbox.note_sent(view(1, 1, 4)) is True
        assert inbox.note_sent(view(2, 2, 4)) is False
        assert inbox.note_sent(view(2, 2, 5)) is True

    def test_require_sending(self) -> None:
        """A state that must be sent again differs from itself, and so does its revision."""
        inbox = KnownInbox()
        inbox.note_sent(view(0, 0, 4))
        assert not inbox.may_have_unread
        inbox.require_sending()
        assert (inbox.was_sent, inbox.may_have_unread, inbox.differs(view(0, 0, 4))) == (True, True, True)
        assert inbox.note_sent(view(0, 0, 4)) is True

    @pytest.mark.parametrize(("sent", "may_have_unread"), [((0, 0), False), ((1, 0), True), ((0, 1), True)])
    def test_unread(self, sent: tuple[int, int], may_have_unread: bool) -> None:
        """Something may be unread if either count that was sent is above zero; revision and expiry do not matter."""
        inbox = KnownInbox()
        inbox.note_sent(view(*sent, revision=7, expires=8))
        assert inbox.may_have_unread is may_have_unread


def test_disconnects() -> None:
    """A disconnection is news once, also if an older one is received after it."""
    channel: Channel[str] = Channel("user:ada")
    assert disconnected_at(channel) == disconnected_at(Channel("all")) == 0
    assert [known(channel).note_disconnect(when) for when in (0, 5, 5, 3, 9)] == [False, True, False, False, True]
    assert disconnected_at(channel) == 9


class Redis:
    """States by user, and the users asked for. `meanwhile` is called before the reply."""

    def __init__(self) -> None:
        self.states: dict[str, InboxState] = {}
        self.asked: list[list[str]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, users: Iterable[str]) -> list[InboxState]:
        self.asked.append(list(users))
        replies = [self.states.get(user, NOTHING) for user in self.asked[-1]]
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return replies

    def revisions(self, users: Iterable[str]) -> list[int]:
        return [self.states.get(user, NOTHING).revision for user in users]


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def states(redis: Redis) -> InboxStates:
    return InboxStates(redis, redis.revisions)


@pytest.fixture
def ada() -> Channel[str]:
    return Channel("user:ada")


def state(revision: int, disconnected_at: int = 0) -> InboxState:
    return NOTHING._replace(revision=revision, disconnected_at=disconnected_at)


class TestLearn:
    def test_only_the_unknown(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """Redis is asked once for all states that are unknown, and for each user once."""
        bob: Channel[str] = Channel("user:bob")
        redis.states = {"ada": state(1), "bob": state(2)}
        assert states.learn([ada, ada]).states == {"user:ada": state(1)}
        assert states.learn([bob, ada, bob]).states == {"user:ada": state(1), "user:bob": state(2)}
        assert states.learn([ada, bob]) == ({"user:ada": state(1), "user:bob": state(2)}, [], [], [])
        assert states.learn([]) == ({}, [], [], [])
        assert redis.asked == [["ada"], ["bob"]]
        known(ada).invalidate()
        redis.states["ada"] = state(3)
        assert states.learn([ada, bob]).states["user:ada"] == state(3)
        assert redis.asked[2:] == [["ada"]]

    def test_outdated(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """A state that may have changed while Redis was asked is returned, but not remembered."""
        redis.states["ada"] = state(1)
        redis.meanwhile = known(ada).invalidate
        assert states.learn([ada]) == ({"user:ada": state(1)}, [ada], [], [(ada, state(1))])
        assert known(ada).state is None
        states.learn([ada])
        assert len(redis.asked) == 2

    def test_a_later_request_that_completes_first(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """The earlier request returns what the later one has brought, not the older state of its own reply."""

        def ask_later() -> None:
            known(ada).invalidate()
            redis.states["ada"] = state(2)
            assert states.learn([ada]).states == {"user:ada": state(2)}

        redis.states["ada"] = state(1)
        redis.meanwhile = ask_later
        assert states.learn([ada]) == ({"user:ada": state(2)}, [ada], [], [])
        assert known(ada).state == state(2)

    def test_filters(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """Topics and mutes are known from a reply to a request that was made after they changed last."""
        redis.states["ada"] = state(1)
        assert states.learn([ada]).filters == [(ada, state(1))]
        known(ada).invalidate()
        assert known(ada).has_filters
        redis.meanwhile = known(ada).invalidate_filters
        assert states.learn([ada]).filters == []
        assert not known(ada).has_filters
        assert states.learn([ada]).filters == [(ada, state(1))]
        assert known(ada).has_filters

    def test_refresh(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """A known state is read from Redis again if the caller requires a refresh."""
        redis.states["ada"] = state(1)
        states.learn([ada])
        redis.states["ada"] = state(2)
        assert states.learn([ada]).states == {"user:ada": state(1)}
        assert states.learn([ada], refresh=True).states == {"user:ada": state(2)}
        assert known(ada).revision == 2

    def test_disconnected(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """A disconnection that this worker has not received is noticed once."""
        redis.states["ada"] = state(1, disconnected_at=77)
        assert states.learn([ada]).disconnected == [ada]
        known(ada).invalidate()
        assert states.learn([ada]).disconnected == []
        assert disconnected_at(ada) == 77

    def test_failure(self, states: InboxStates, redis: Redis, ada: Channel[str]) -> None:
        """While Redis cannot be reached, known states are returned, and unknown ones stay unknown."""
        bob: Channel[str] = Channel("user:bob")
        states.learn([bob])

        def fail() -> None:
            raise BrokerUnavailable()

        redis.meanwhile = fail
        with pytest.raises(BrokerUnavailable):
            states.learn([ada, bob])
        assert known(ada).state is None
        assert states.learn([bob]).states == {"user:bob": NOTHING}


def test_user_of() -> None:
    """A name may have colons."""
    assert user_of(Channel("user:a:b")) == "a:b"
