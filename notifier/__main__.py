"""`python -m notifier`: the command line, also where its script is not on the PATH."""

from notifier.cli.main import main

main()
