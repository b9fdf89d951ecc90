"""Benchmarks of Notifier and its peers on the same machine: `python -m benchmarks.run`."""
