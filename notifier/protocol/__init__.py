"""The contract between publishers, clients and the service, as pure code.

Nothing here does I/O, reads a clock or the environment, starts a thread or writes a log: time and randomness are
arguments. `tests/test_layers.py` holds this.
"""
