"""The command `notifier`: docs/cli.md describes it. Data goes to stdout, messages go to stderr."""
