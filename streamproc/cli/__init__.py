"""The command line: one file for each group of commands; errors are one clear line."""

from streamproc.cli.main import run

__all__ = ["run"]
