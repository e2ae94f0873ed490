"""Small things that messages are made of."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things: "1 frame", "2 frames", with `plural` "2 tries"."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
