"""Fault injection: real clients, publishers and faults, and a judge of what reached whom. `make chaos` runs it."""
