"""How long tests search at random: `make quick` does a share of what `make test` does."""

from hypothesis import settings

_ALL = 100  # examples of hypothesis's own default


def share(number: int) -> int:
    """Return how many random courses to try, of those of a complete run."""
    return max(1, number * settings.default.max_examples // _ALL)
