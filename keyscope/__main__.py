"""`python -m keyscope` is the command line."""

from keyscope.cli import main

main()
