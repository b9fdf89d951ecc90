"""Places: for whom each connection of a worker counts, from its handshake until it is closed."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from notifier.connections.strangers import Strangers
from notifier.connections.stream import StreamConnection
from notifier.connections.websocket import Connection
from notifier.errors import RateExceeded


class Counts(NamedTuple):
    """The functions that count the connections of an address, which may be None, and of a user."""

    address_opened: Callable[[int | None], object]
    address_closed: Callable[[int | None], object]
    user_opened: Callable[[str], object]  # raises `RateExceeded` if the user may not have one more
    user_closed: Callable[[str], object]


class Places:
    """Counts connections for addresses and users. Those that count for no user are strangers."""

    def __init__(self, strangers: Strangers, counts: Counts) -> None:
        self.strangers = strangers
        self._counts = counts

    def opened(self, connection: Connection) -> None:
        """Note a connection that was taken over.

        If the request had a token, it counts for the user. If the user has too many, it is a stranger, and will be
        closed when it says hello.
        """
        self._counts.address_opened(connection.address)
        if isinstance(connection, StreamConnection) and connection.session.identity is not None:
            with contextlib.suppress(RateExceeded):
                self._count(connection)
        if not (isinstance(connection, StreamConnection) and connection.is_counted):
            self.strangers.admit(connection)

    def authenticated(self, connection: StreamConnection) -> None:
        """Note that the hello had a valid token: the connection is no stranger any more.

        Raises:
            RateExceeded: the user may not have one more.
        """
        if not connection.is_counted:
            self._count(connection)
            self.strangers.forget(connection)

    def closing(self, connection: StreamConnection) -> None:
        """Note that a connection is closing."""
        self.strangers.note_closing(connection)
        if connection.is_counted:
            connection.is_counted = False
            self._counts.user_closed(user_of(connection))

    def closed(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        self._counts.address_closed(connection.address)
        self.strangers.forget(connection)

    def _count(self, connection: StreamConnection) -> None:
        self._counts.user_opened(user_of(connection))
        connection.is_counted = True


def user_of(connection: StreamConnection) -> str:
    """Return the user of a connection that has authenticated."""
    identity = connection.session.identity
    assert identity is not None
    return identity.user
