"""Fault injection: real clients, publishers and faults, and an oracle that checks the deliveries. See `make chaos`."""
