"""Small things that messages are made of."""

from __future__ import annotations

from typing import Self


class Line(str):
    """A sentence for a person, with the facts that are in it for machines; anything that takes a `str` takes it.

    Attributes:
        facts: By the names of `streamproc.logs.FIELDS`.
    """

    __slots__ = ("facts",)
    facts: dict[str, object]

    def __new__(cls, text: str, **facts: object) -> Self:
        """Of a text and its facts."""
        line = super().__new__(cls, text)
        line.facts = facts
        return line


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things: "1 frame", "2 frames", with `plural` "2 tries"."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
