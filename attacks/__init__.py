"""Attacks on a service of one's own, on loopback and bounded, and what others notice of them. See `make attacks`."""
