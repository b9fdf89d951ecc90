"""The targets of fuzzing: on seeds, on what was found before, and on some mutations of these."""

import random

import pytest

from fuzz.seeds import FINDINGS, SEEDS
from fuzz.targets import TARGETS
from tests.kit.chance import share

MUTATIONS = 100  # of each seed


def mutated(seed: bytes, random: random.Random) -> bytes:
    """Return a seed with some bytes changed, added or removed."""
    data = bytearray(seed)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data) + 1)
        data[place : place + random.randrange(3)] = random.randbytes(random.randrange(3))
    return bytes(data)


def test_every_target_has_seeds() -> None:
    assert SEEDS.keys() == FINDINGS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    """Nothing but an error of the contract comes out."""
    chance = random.Random(name)
    for seed in [b"", *SEEDS[name], *FINDINGS[name]]:
        TARGETS[name](seed)
        for _ in range(share(MUTATIONS)):
            TARGETS[name](mutated(seed, chance))


def test_it_finds_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target fails if something else comes out."""
    monkeypatch.setattr("notifier.protocol.jwk.parse", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TARGETS["jwks"](b"")
