"""The command `notifier`: docs/cli.md describes it. Data goes to stdout, words go to stderr."""
