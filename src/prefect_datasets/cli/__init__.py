"""The command line. A subcommand's module is imported when it is called, and no other."""

from prefect_datasets.cli.run import main

__all__ = ["main"]
