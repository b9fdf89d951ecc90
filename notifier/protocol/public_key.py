"""Public keys of the kinds that can verify tokens. The only module that needs `cryptography`: clients do without."""

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

_RSA_BITS = (2048, 8192)  # below it is weak, above it is slow: a hostile server could stop the worker
_MAX_EXPONENT = 2**32


def make(kty: str, *fields: bytes) -> Any:
    """Return the key that the fields of a JWK describe: RSA, P-256 (EC) or Ed25519 (OKP).

    Raises:
        ValueError: it is not usable.
    """
    build: Any = {"RSA": _rsa, "EC": _ec, "OKP": Ed25519PublicKey.from_public_bytes}[kty]
    try:
        return build(*fields)
    except UnsupportedAlgorithm as error:
        raise ValueError from error


def _rsa(n: bytes, e: bytes) -> Any:
    modulus, exponent = int.from_bytes(n), int.from_bytes(e)
    if not _RSA_BITS[0] <= modulus.bit_length() <= _RSA_BITS[1] or not 2 < exponent < _MAX_EXPONENT:
        raise ValueError
    return RSAPublicNumbers(exponent, modulus).public_key()


def _ec(x: bytes, y: bytes) -> Any:
    if len(x) > 32 or len(y) > 32:
        raise ValueError
    return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()
