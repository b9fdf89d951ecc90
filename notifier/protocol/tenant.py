"""Tenants: each has its own users and topics. The same name in two tenants means two different ones.

Inside the service the name of a user or topic begins with its tenant. Names that requests, tokens and frames bring
cannot contain the separator, so they never reach another tenant. Names without a tenant are those of the default one.
"""

import re

from notifier.protocol import channel as channels

SEPARATOR = "\x1f"  # a control character: no name may contain it
MAX_TENANT = 32  # characters
RULE = f"The name of a tenant has 1 to {MAX_TENANT} characters: a-z, 0-9 and -, which is not the first."
_FORM = re.compile(r"[a-z0-9][a-z0-9-]*\Z")


def fault_of(tenant: str) -> str | None:
    """Return what is wrong with the name of a tenant, or None. The default tenant has no name."""
    return None if len(tenant) <= MAX_TENANT and _FORM.match(tenant) else RULE


def scoped(tenant: str, name: str) -> str:
    """Return the name of a user or topic as the service uses it."""
    return f"{tenant}{SEPARATOR}{name}" if tenant else name


def of(name: str) -> str:
    """Return the tenant of a scoped name; empty: the default one."""
    tenant, separator, _ = name.partition(SEPARATOR)
    return tenant if separator else ""


def outward(name: str) -> str:
    """Return a scoped name as its tenant knows it."""
    return name.partition(SEPARATOR)[2] or name


def everyone_of(tenant: str) -> str:
    """Return the channel of all users of a tenant."""
    return f"{channels.ALL}:{tenant}{SEPARATOR}" if tenant else channels.ALL


def scoped_channel(tenant: str, channel: str) -> str:
    """Return a channel that a tenant names as the service uses it."""
    if not tenant:
        return channel
    if channel == channels.ALL:
        return everyone_of(tenant)
    kind, _, name = channel.partition(":")
    return f"{kind}:{scoped(tenant, name)}"


def of_channel(channel: str) -> str:
    """Return the tenant of a channel; empty: the default one."""
    return of(channel.partition(":")[2])


def public(channel: str) -> str:
    """Return a channel as its tenant knows it."""
    if SEPARATOR not in channel:
        return channel
    kind, _, name = channel.partition(":")
    name = name.partition(SEPARATOR)[2]
    return f"{kind}:{name}" if name else kind


def visible(channel: str) -> str:
    """Return a channel for a log line: nobody would see the separator there."""
    return channel.replace(SEPARATOR, "|")
