"""Payers: users, API keys and tenants for whose publications rates and quotas are charged."""

from collections.abc import Iterable, Iterator

from notifier.errors import Problem
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.protocol.daily_usage import Amounts


class Payer:
    """One user, API key or tenant. `rates` are those of publications and of their recipients, or none."""

    __slots__ = ("_name", "_quotas", "_rates")

    def __init__(self, name: str, rates: tuple[Rates, Rates] | tuple[()], quotas: Quotas) -> None:
        self._name = name
        self._rates = rates
        self._quotas = quotas

    def charge(self, amounts: Amounts) -> Problem | None:
        """Count a publication, or return why it may not be published."""
        try:
            for rates, amount in self._rated(amounts):
                rates.take(self._name, amount)
            if self._quotas:
                self._quotas.take(self._name, amounts)
        except Problem as problem:
            return problem
        return None

    def charge_all(self, amounts: Amounts) -> bool:
        """Count several publications if each of them may be published; otherwise count nothing, and return False."""
        if not self.has(amounts):
            return False
        self.spend(amounts)
        return True

    def has(self, amounts: Amounts) -> bool:
        """Return whether several publications may be published, all of them and in every order."""
        if not all(rates.has(self._name, amount) for rates, amount in self._rated(amounts)):
            return False
        return not self._quotas or self._quotas.has(self._name, amounts)

    def spend(self, amounts: Amounts) -> None:
        """Count publications that may be published."""
        for rates, amount in self._rated(amounts):
            rates.spend(self._name, amount)
        if self._quotas:
            self._quotas.take(self._name, amounts)

    def _rated(self, amounts: Amounts) -> Iterable[tuple[Rates, int]]:
        return zip(self._rates, (amounts.publications, amounts.recipients), strict=False)  # there may be no rates

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

    def charge(self, amounts: Amounts) -> Problem | None:
        """Count a publication, or return why it may not be published."""
        return _first(payer.charge(amounts) for payer in self._payers)

    def charge_all(self, amounts: Amounts) -> bool:
        """Count several publications if each of them may be published; otherwise count nothing, and return False."""
        if not all(payer.has(amounts) for payer in self._payers):
            return False
        for payer in self._payers:
            payer.spend(amounts)
        return True

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
