"""Whether two JSON values say the same, up to the last digits of their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

MAX_DEPTH: Final = 64
DIGEST: Final = "digest"


class _Nothing:
    """Stands where one side has a name and the other has not; equal to no value of JSON."""

    def __str__(self) -> str:
        return "nothing"


_NOTHING: Final = _Nothing()


class Leaf(NamedTuple):
    """One place where two values differ.

    Attributes:
        path: Names and positions, "points[3][0]"; empty at the top.
        size: Difference as a share of the larger number; 1 where they are not both numbers.
    """

    path: str
    size: float
    a: Any
    b: Any


def leaves(a: Any, b: Any, *, number: float, digests: bool = True) -> Iterator[Leaf]:
    """Places where two values differ.

    Args:
        a: As JSON gives it.
        b: The other.
        number: Numbers are the same if they differ by no more than this share of the larger, or by no more at all.
        digests: Whether texts named "digest" count.
    """
    return _leaves(a, b, number=number, digests=digests, path="", depth=0)


def _leaves(a: Any, b: Any, *, number: float, digests: bool, path: str, depth: int) -> Iterator[Leaf]:
    if depth > MAX_DEPTH:
        if a != b:
            yield Leaf(path, 1.0, a, b)
        return
    parts: list[tuple[str, Any, Any]] = []
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        parts = [
            (f"{path}.{name}" if path else str(name), a.get(name, _NOTHING), b.get(name, _NOTHING))
            for name in sorted({*a, *b})
            if digests or name != DIGEST
        ]
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield Leaf(f"{path} (length)", abs(len(a) - len(b)) / max(len(a), len(b)), len(a), len(b))
        parts = [(f"{path}[{place}]", one, other) for place, (one, other) in enumerate(zip(a, b, strict=False))]
    elif not same(a, b, number=number):
        yield Leaf(path, _apart(a, b), a, b)
    for at, one, other in parts:
        yield from _leaves(one, other, number=number, digests=digests, path=at, depth=depth + 1)


def same(a: Any, b: Any, *, number: float) -> bool:
    """Whether two plain values are equal, numbers up to a tolerance."""
    if not (_is_number(a) and _is_number(b)):
        return type(a) is type(b) and bool(a == b)
    try:
        return bool(a == b) or math.isclose(a, b, rel_tol=number, abs_tol=number)
    except OverflowError:
        return False


def _apart(a: Any, b: Any) -> float:
    if not (_is_number(a) and _is_number(b)):
        return 1.0
    try:
        return float(abs(a - b) / max(abs(a), abs(b)))
    except OverflowError:
        return 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
