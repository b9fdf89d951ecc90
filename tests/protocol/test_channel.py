"""Channels: their names and who may subscribe to them."""

from collections.abc import Callable

from notifier.protocol import channel
from tests.kit.cases import rows

REFUSED = ["", "a b", " a", "a\u00a0b", "a\tb", "a\n", "\x00", "\x7f", "a\u200bb", "\u2028", "{a", "a}", "\ud800"]
UNSAFE = [".", "..", "e\u0301", "\u0301", "\u3164", "a\u3164", "\u2800", "\uffa0", "\u1160a", "\u0b47\u0b3e", "\u212b"]
FAULTS = [channel.fault_of_name, channel.fault_of_topic]


@rows("fault_of", FAULTS)
@rows(
    "name",
    ["a", "0", "orders", "user@example.org", "project:7/build", "Zürich", "日本", "❤️", "हिन्दी", "...", "a" * 128],
)
def test_good_names(fault_of: Callable[[str], str | None], name: str) -> None:
    """A name is 1 to 128 printable characters of any language."""
    assert fault_of(name) is None


@rows("fault_of", FAULTS)
@rows("name", [*REFUSED, *UNSAFE, "a" * 129])
def test_bad_names(fault_of: Callable[[str], str | None], name: str) -> None:
    """A name without characters, too long, with a blank, a control character or a brace has a fault."""
    fault = fault_of(name)
    assert fault
    assert fault.endswith(".")


@rows("name", ["*", "project:*", "a*b"])
def test_wildcards(name: str) -> None:
    """A topic has no wildcard; a user may be called so."""
    assert channel.fault_of_topic(name)
    assert channel.fault_of_name(name) is None


def test_names_of_channels() -> None:
    """Users and topics have channels of their own, whatever they are called."""
    assert channel.of_user("alice") == "user:alice"
    assert channel.of_topic("alice") == "topic:alice"
    assert channel.ALL not in (channel.of_user("all"), channel.of_topic("all"))


def test_topic_of() -> None:
    """The topic is known from its channel; no other channel is a topic's."""
    assert channel.topic_of(channel.of_topic("a:b")) == "a:b"
    assert channel.topic_of(channel.of_user("topic:a")) is None
    assert channel.topic_of(channel.ALL) is None


@rows(
    ("patterns", "topic", "granted"),
    [
        ((), "orders", False),
        (("orders",), "orders", True),
        (("orders",), "orders2", False),
        (("orders",), "order", False),
        (("Orders",), "orders", False),
        (("project:*",), "project:7", True),
        (("project:*",), "project:", True),
        (("project:*",), "project", False),
        (("project:*",), "projects:7", False),
        (("*",), "anything", True),
        (("a", "b*"), "bc", True),
        (("a*c",), "abc", False),
        (("a*c",), "a*c", True),
        (("*c",), "abc", False),
    ],
)
def test_grants(patterns: tuple[str, ...], topic: str, granted: bool) -> None:
    """A pattern grants the topic of its name or, with a final star, all with that prefix; other stars are literal."""
    assert channel.grants(patterns, topic) is granted
