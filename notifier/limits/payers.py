"""Payers: users, API keys and tenants for whose publications rates and quotas are charged."""

from collections.abc import Iterator

from notifier.errors import Problem
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.protocol.daily_usage import Amounts
from notifier.protocol.notification import Publication


class Payer:
    """One user, API key or tenant. `rates` are those of publications and of their recipients, or none."""

    __slots__ = ("_name", "_quotas", "_rates")

    def __init__(self, name: str, rates: tuple[Rates, Rates] | tuple[()], quotas: Quotas) -> None:
        self._name = name
        self._rates = rates
        self._quotas = quotas

    def charge(self, publication: Publication, size: int) -> Problem | None:
        """Count a publication that takes so many bytes of Redis, or return why it may not be published."""
        recipients = len(publication.channels)
        try:
            if self._rates:
                publications, all_recipients = self._rates
                publications.take(self._name)
                all_recipients.take(self._name, recipients)
            if self._quotas:
                self._quotas.take(self._name, Amounts(1, recipients, 0, size))
        except Problem as problem:
            return problem
        return None

    @property
    def may_create_topics(self) -> bool:
        """Whether a topic that does not exist may be published to."""
        return not (self._quotas.has_topics and self._quotas.has_used_topics(self._name))

    def refusal_of_topics(self, number: int) -> Problem | None:
        """Return why so many topics may not be created; None: they may."""
        try:
            self._quotas.require_topics(self._name, number)
        except Problem as problem:
            return problem
        return None

    def created_topics(self, number: int) -> None:
        """Count topics that were created."""
        if number and self._quotas.has_topics:
            self._quotas.note_topics(self._name, number)


class Payers:
    """Several payers of the same publications. If a later one refuses, the earlier ones have counted nevertheless."""

    __slots__ = ("_payers",)

    def __init__(self, *payers: Payer) -> None:
        self._payers = payers

    def charge(self, publication: Publication, size: int) -> Problem | None:
        """Count a publication that takes so many bytes of Redis, or return why it may not be published."""
        return _first(payer.charge(publication, size) for payer in self._payers)

    @property
    def may_create_topics(self) -> bool:
        """Whether a topic that does not exist may be published to."""
        return all(payer.may_create_topics for payer in self._payers)

    def refusal_of_topics(self, number: int) -> Problem | None:
        """Return why so many topics may not be created; None: they may."""
        return _first(payer.refusal_of_topics(number) for payer in self._payers)

    def created_topics(self, number: int) -> None:
        """Count topics that were created."""
        for payer in self._payers:
            payer.created_topics(number)


def _first(problems: Iterator[Problem | None]) -> Problem | None:
    return next((problem for problem in problems if problem is not None), None)
