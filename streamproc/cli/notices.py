"""Lines for the user beside a command's result."""

from __future__ import annotations

from rich.console import Console

err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line on stderr as it stands."""
    err.print(line, markup=False)


def quiet(_line: str) -> None:
    """With --json nothing but the result is printed."""
