"""Coverage-guided fuzzing of everything that reads what strangers send. See `make fuzz`."""
