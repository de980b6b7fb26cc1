"""`python -m fallow` is the command line."""

from fallow.cli import main

main()
