"""What clients must receive, and what they must not, in every order of requests and answers."""

import pytest

from chaos import oracle
from chaos.ledger import Ledger, Publication
from chaos.witness import Journal, Witness
from tests.chaos.orders import Times, orders, possible

TOPIC, TYPE = "orders", "order.paid"
CHANNEL = f"topic:{TOPIC}"
AT = (10_000, 0)


def published(times: tuple[int, int], channel: str = CHANNEL, key: str = "p") -> Publication:
    publication = Publication(key, [channel], for_inbox=True, type=TYPE, attempts=[(times[0], "201")], id=key)
    publication.acknowledged, publication.cursors = times[1], {channel: AT}
    return publication


def ledger_of(*publications: Publication) -> Ledger:
    ledger = Ledger()
    for publication in publications:
        ledger.publications[publication.key] = publication
        ledger.file(publication)
    return ledger


@pytest.fixture
def witness() -> Witness:
    """A client without topics that is connected from the beginning on."""
    witness = Witness("client", "alice", [], Journal())
    witness.welcomed("1-0", [])
    return witness


def receive(witness: Witness, publication: Publication, at: float = 100, cursor: str = "10000-0") -> None:
    notification = {"id": publication.id, "data": {"key": publication.key}}
    witness.called(publication.channels[0], cursor, notification, replay=False)
    witness.callbacks[-1] = witness.callbacks[-1]._replace(at=at)


def kinds(witness: Witness, *publications: Publication) -> set[str]:
    return {violation.kind for violation in oracle.judge(ledger_of(*publications), [witness], 100)}


def enrol(witness: Witness, times: Times, *names: str) -> None:
    """Join and leave by turns."""
    for name in names:
        sent, answered = times[name]
        if name.startswith("join"):
            witness.members.begins(TOPIC, sent)
            witness.members.has_begun(TOPIC, answered)
        else:
            witness.members.ends(TOPIC, sent)
            witness.members.has_ended(TOPIC, answered)


def mute(witness: Witness, name: str, times: Times) -> None:
    witness.mutes.begins(name, times["mute"][0])
    witness.mutes.has_begun(name, times["mute"][1])
    witness.mutes.ends(name, times["lift"][0])
    witness.mutes.has_ended(name, times["lift"][1])


@pytest.mark.parametrize("times", orders(["join"], "publish"))
def test_a_member_who_receives_nothing(witness: Witness, times: Times) -> None:
    """A notification is missing exactly if it was published after the membership was acknowledged."""
    enrol(witness, times, "join")
    is_certain = not possible(times, ["publish", "join"])
    assert kinds(witness, published(times["publish"])) == ({"missing"} if is_certain else set())


@pytest.mark.parametrize("times", orders(["join", "leave", "join again"], "publish"))
def test_a_member_who_receives(witness: Witness, times: Times) -> None:
    """What was certainly published outside a membership must not be received: before it, or after a removal."""
    enrol(witness, times, "join", "leave", "join again")
    receive(witness, published(times["publish"]))
    may = possible(times, ["join", "publish", "leave"]) or possible(times, ["join again", "publish"])
    assert kinds(witness, published(times["publish"])) == (set() if may else {"not a member"})


@pytest.mark.parametrize("times", orders(["join", "leave"], "publish"))
def test_a_removed_member_who_received_something_later(witness: Witness, times: Times) -> None:
    """What was published during a membership is missing if a much later notification was received before its end."""
    enrol(witness, times, "join", "leave")
    later = published(times["publish"], "all", "later")
    later.cursors["all"] = (AT[0] + 2001, 0)
    receive(witness, later, times["leave"][0] - 0.5, "12001-0")
    is_certain = not possible(times, ["publish", "join"]) and not possible(times, ["leave", "publish"])
    found = kinds(witness, published(times["publish"]), later)
    assert found == ({"missing"} if is_certain else set())


def test_a_removed_member_who_received_nothing_later(witness: Witness) -> None:
    """A client that was removed before it has caught up has lost nothing."""
    enrol(witness, {"join": (1, 2), "leave": (5, 6)}, "join", "leave")
    assert kinds(witness, published((3, 4))) == set()


def test_a_connection_that_is_opened_after_the_removal(witness: Witness) -> None:
    """A client that connects long after the removal must not receive what was published before."""
    enrol(witness, {"join": (1, 2), "leave": (5, 6)}, "join", "leave")
    witness.opened = 12
    receive(witness, published((3, 4)))
    assert kinds(witness, published((3, 4))) == {"former member"}


def test_a_subscriber_who_is_no_member(witness: Witness) -> None:
    """A client that has subscribed to a topic receives it without a membership."""
    witness.topics.append(TOPIC)
    witness.welcomed("1-0", [TOPIC])
    enrol(witness, {"join": (1, 2), "leave": (3, 4)}, "join", "leave")
    assert kinds(witness, published((5, 6))) == {"missing"}
    receive(witness, published((5, 6)))
    assert kinds(witness, published((5, 6))) == set()


@pytest.mark.parametrize("times", orders(["mute", "lift"], "publish"))
@pytest.mark.parametrize(
    ("channel", "name"), [(CHANNEL, f"type:{TYPE}"), (CHANNEL, CHANNEL), ("user:alice", f"type:{TYPE}")]
)
def test_a_mute(witness: Witness, times: Times, channel: str, name: str) -> None:
    """What was certainly published outside a mute must be received, and what was published during it must not."""
    enrol(witness, {"join": (-2, -1)}, "join")
    mute(witness, name, times)
    during = possible(times, ["mute", "publish", "lift"])
    outside = possible(times, ["publish", "mute"]) or possible(times, ["lift", "publish"])
    assert kinds(witness, published(times["publish"], channel)) == (set() if during else {"missing"})
    receive(witness, published(times["publish"], channel), at=times["lift"][0] - 0.5)
    assert kinds(witness, published(times["publish"], channel)) == (set() if outside else {"muted"})


def test_a_mute_that_was_lifted(witness: Witness) -> None:
    """After a mute, a replay may bring what it had muted in shared channels, but not in the user's own."""
    enrol(witness, {"join": (-2, -1)}, "join")
    mute(witness, f"type:{TYPE}", {"mute": (1, 2), "lift": (5, 6)})
    later = published((7, 8), key="later")
    later.cursors[CHANNEL] = (AT[0] + 1, 0)
    receive(witness, later, cursor="10001-0")
    receive(witness, published((3, 4)))
    assert kinds(witness, published((3, 4)), later) == set()
    receive(witness, own := published((3, 4), "user:alice", "own"))
    assert kinds(witness, published((3, 4)), later, own) == {"muted"}


def test_a_mute_of_something_else(witness: Witness) -> None:
    """Mutes of other types and topics, and of what is not in inboxes, change nothing."""
    enrol(witness, {"join": (-2, -1)}, "join")
    for name in ("type:chat.said", "topic:invoices"):
        mute(witness, name, {"mute": (1, 2), "lift": (5, 6)})
    assert kinds(witness, published((3, 4))) == {"missing"}
    mute(witness, f"type:{TYPE}", {"mute": (1, 2), "lift": (5, 6)})
    not_an_item = published((3, 4))
    not_an_item.for_inbox = False
    assert kinds(witness, not_an_item) == {"missing"}


@pytest.mark.parametrize(
    ("entitled", "tolerance", "expected"),
    [("10001-0", 0, set()), ("12000-0", 0, set()), ("12001-0", 0, {"early"}), ("12001-0", 1, set())],
)
def test_what_is_older_than_the_client(entitled: str, tolerance: int, expected: set[str]) -> None:
    """A client may receive older notifications only within the overlap of a replay, and what its worker missed."""
    witness = Witness("client", "alice", [], Journal())
    witness.welcomed(entitled, [])
    witness.tolerance = tolerance
    publication = published((3, 4), "all")
    receive(witness, publication)
    assert kinds(witness, publication) == expected
