"""Hosts: the names by which clients may call the service."""

from collections.abc import Mapping
from typing import Any

from notifier.errors import BadRequest, MisdirectedRequest
from notifier.protocol.origin import of_host

_OF_OPERATORS = ("/healthz", "/readyz", "/metrics")  # they come from the machine, by address
_MOST_SPELLINGS = 100


class Hosts:
    """Rejects requests to other hosts than those of some origins, whatever they ask for; without origins to none.

    A name of another site that leads to this address (DNS rebinding), or a proxy that serves several names, would
    otherwise let pages of other origins act as the service's own.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = origins
        self._known: set[str] = set()  # spellings that are accepted

    def check(self, environ: Mapping[str, Any]) -> None:
        """Check the host of a request.

        Raises:
            BadRequest: HTTP/1.1 requires a host, and there is none.
            MisdirectedRequest: it is another one.
        """
        host = environ.get("HTTP_HOST")
        if host is None and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise BadRequest("A request of HTTP/1.1 has a Host (RFC 9112 section 3.2).")
        if not self._origins or host in self._known or environ["PATH_INFO"] in _OF_OPERATORS:
            return
        if host is None or not set(of_host(host)) & set(self._origins):
            raise MisdirectedRequest("NOTIFIER_PUBLIC_URL does not list this host.")
        if len(self._known) < _MOST_SPELLINGS:
            self._known.add(host)
