"""Access: the extra cost of managed keys with quotas, and of tokens signed by an issuer. The peers have neither.

Two services run side by side, one worker each, and do the same work in turn. CPU time of the workers is compared,
which the other service does not disturb.
"""

import json
import time
import urllib.request

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.contenders import MANY, TOPIC, Notifier, running
from benchmarks.load import Listeners, post_repeatedly
from benchmarks.measures import Incomplete, Row
from benchmarks.process import cpu_seconds
from benchmarks.storms import percentile

ROWS = {
    "key": Row("publish, one per request: CPU", "{:,.0f} us", 0),
    "managed": Row("the same with a managed key and daily quotas, extra cost", "{:.1f} %", 5),
    "hs256": Row("handshake with HS256: CPU", "{:,.0f} us", 0),
    "rs256": Row("the same with RS256, token seen before, extra cost", "{:.1f} %", 10),
}
ROUNDS = 5  # of each kind, alternating
HANDSHAKES = 1_000  # of a round
ISSUER, AUDIENCE = "https://id.example", "bench"


class Guarded(Notifier):
    """The service with a managed key, daily quotas and an issuer of tokens."""

    def __init__(self):
        """Make the issuer's key."""
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tokens = {}
        self.headers = Notifier.headers

    def environment(self, port, data):
        """Return the settings with quotas and the issuer's public key."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": {"keys": [{**public, "kid": "a", "alg": "RS256"}]}}
        quotas = ("PUBLICATIONS", "RECIPIENTS", "TOPICS", "BYTES")
        return {
            **super().environment(port, data),
            **{f"NOTIFIER_KEY_DAILY_{quota}": MANY for quota in quotas},
            **{f"NOTIFIER_TENANT_DAILY_{quota}": MANY for quota in quotas},
            "NOTIFIER_TOKEN_ISSUERS": json.dumps([issuer]),
        }

    def hello(self, user):
        """Return a hello frame with the user's token, which is made once."""
        if user not in self._tokens:
            now = int(time.time())
            claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 3600, "topics": [TOPIC]}
            self._tokens[user] = jwt.encode(claims, self._private, "RS256", {"kid": "a"})
        return json.dumps({"type": "hello", "token": self._tokens[user], "topics": [TOPIC]}, separators=(",", ":"))

    def use_managed_key(self, port):
        """Create a key at run time, and publish with it from now on."""
        body = json.dumps({"name": "Bench", "scopes": ["publish"]}).encode()
        headers = {**Notifier.headers, "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/v1/keys", body, headers), timeout=10
        ) as answer:
            self.headers = {"Authorization": f"Bearer {json.load(answer)['key']}"}


def measure(scale, directory, notes):
    """Yield all figures; `directory` has the compiled clients."""
    guarded = Guarded()
    with running(Notifier()) as plain, running(guarded) as other:
        guarded.use_managed_key(other.port)
        yield from compared(("key", "managed"), plain, other, lambda where: publishing(where, scale, directory))
        yield from compared(("hs256", "rs256"), plain, other, lambda where: handshake(where, directory))


def compared(keys, plain, other, work):
    """Yield the median cost of some work, and by how many percent it is greater for the other service."""
    for where in (plain, other):
        work(where)  # what is done once only is not measured
    costs = [(work(plain), work(other)) for _ in range(ROUNDS)]
    usual, guarded = (percentile(list(each), 0.5) for each in zip(*costs, strict=True))
    yield keys[0], usual
    yield keys[1], 100 * (guarded / usual - 1)


def publishing(where, scale, directory):
    """Return the worker's CPU time per publication in microseconds: one per request, 32 at a time."""
    body = where.contender.unreceived(64) % (1, 0)
    before = cpu_seconds(where.worker)
    result = post_repeatedly(directory, where, body, "application/json", 32, scale.publish_seconds / 2)
    if result["refused"] or result["broken"] or not result["accepted"]:
        raise Incomplete(f"{result['refused']:,} of {result['requests']:,} publications refused")
    return (cpu_seconds(where.worker) - before) / result["accepted"] * 1e6


def handshake(where, directory):
    """Return the worker's CPU time per handshake in microseconds: connections of as many users, 32 at a time."""
    with Listeners(directory) as listeners:
        before = cpu_seconds(where.worker)
        result = listeners.open(where, HANDSHAKES)
        used = cpu_seconds(where.worker) - before
        if result["opened"] != HANDSHAKES:
            raise Incomplete(f"only {result['opened']:,} of {HANDSHAKES:,} connections opened")
    return used / HANDSHAKES * 1e6
