"""Tenants: names inside the service, and as each tenant knows them."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import channel as channels
from notifier.protocol import tenant as tenants
from tests.kit.cases import rows

TENANTS = st.sampled_from(["", "acme", "acme-2", "a"])
NAMES = st.text(min_size=1, max_size=9).filter(lambda name: channels.fault_of_name(name) is None)


@rows("name", ["a", "acme", "acme-2", "0", "x" * 32])
def test_names(name: str) -> None:
    """A tenant has a short name of plain characters."""
    assert tenants.fault_of(name) is None


@rows("name", ["", "-a", "A", "a b", "a:b", "a/b", "a\x1fb", "\u00e9", "a\n", "x" * 33])
def test_no_names(name: str) -> None:
    """Anything else is not a tenant, because its name becomes a part of other names."""
    assert tenants.fault_of(name)


@given(TENANTS, NAMES, TENANTS, NAMES)
def test_distinct(tenant: str, name: str, other: str, other_name: str) -> None:
    """Users and topics of tenants are different, whatever their names; each tenant knows its own by their names."""
    inside = tenants.scoped(tenant, name)
    assert (tenants.of(inside), tenants.outward(inside)) == (tenant, name)
    assert (inside == tenants.scoped(other, other_name)) == ((tenant, name) == (other, other_name))


@given(TENANTS, NAMES)
def test_channels(tenant: str, name: str) -> None:
    """Each channel keeps its kind and its tenant."""
    for channel in (channels.of_user(name), channels.of_topic(name), channels.ALL):
        inside = tenants.scoped_channel(tenant, channel)
        assert (tenants.of_channel(inside), tenants.public(inside)) == (tenant, channel)
        assert channels.is_user(inside) == channels.is_user(channel)
        assert channels.is_everyone(inside) == (channel == channels.ALL)
        if channel != channels.ALL:
            assert inside.partition(":")[2] == tenants.scoped(tenant, name)
    assert channels.topic_of(tenants.scoped_channel(tenant, channels.of_topic(name))) == tenants.scoped(tenant, name)
    assert tenants.scoped_channel(tenant, channels.ALL) == tenants.everyone_of(tenant)


def test_visible() -> None:
    """A log line shows the tenant of a channel."""
    names = ["user:alice", tenants.scoped_channel("acme", "user:alice"), tenants.everyone_of("acme")]
    assert list(map(tenants.visible, names)) == ["user:alice", "user:acme|alice", "all:acme|"]


def test_no_name_reaches_another_tenant() -> None:
    """The separator is in no name that is valid in a request."""
    assert channels.fault_of_name(tenants.scoped("acme", "alice"))
    assert channels.fault_of_topic(tenants.scoped("acme", "orders"))
    assert channels.fault_of_pattern(tenants.scoped("acme", "*"))
    assert channels.fault_of_user_pattern(tenants.scoped("acme", "*"))
