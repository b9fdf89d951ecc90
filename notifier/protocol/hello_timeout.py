"""The hello timeout: how long a client may take to send its hello. It is shorter while few places are free."""

_SCARCE = 2  # places are scarce when fewer than one of so many is free
_SHORTEST = 0.25  # of the timeout: a client sends its hello as soon as it has the answer to its handshake


def hello_timeout(longest: float, free: int, places: int) -> float:
    """Return the timeout in seconds, where `free` of the `places` for clients without a hello are free.

    It is `longest` until half of them are taken, and from there falls in proportion to a quarter of that.
    """
    part = _SCARCE * max(free, 0) / places
    return longest * min(_SHORTEST + (1 - _SHORTEST) * part, 1)
