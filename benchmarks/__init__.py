"""What Notifier costs beside its peers on the same machine: `python -m benchmarks.run`."""
