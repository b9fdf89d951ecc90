"""`python -m notifier`: the command line, also if its script is not on the PATH."""

from notifier.cli.main import main

main()
