"""The name of an address, a user or an API key, for whom a limit counts."""

Name = int | str
