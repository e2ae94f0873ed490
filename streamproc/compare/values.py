"""What a difference is. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import msgspec

from streamproc.errors import UsageError
from streamproc.model import FrameKey

Kind = Literal[
    "frame.lost",
    "frame.added",
    "frame.outcome",
    "frame.size",
    "occurrence.lost",
    "occurrence.added",
    "occurrence.changed",
    "object.lost",
    "object.added",
    "object.label",
    "object.moved",
    "object.score",
    "object.track",
    "object.source",
    "classification.changed",
    "edges.changed",
    "feature.lost",
    "feature.added",
    "feature.changed",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""All of them, the worst first."""
DIGESTS: Final = "digests"
"""What else may be ignored: texts named `digest` inside features, which differ with the last bit of a float."""
_RANK: Final = {kind: place for place, kind in enumerate(KINDS)}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference of a frame.

    Attributes:
        kind: What differs.
        name: Of the label, step or attribute; empty where the kind says all.
        size: How much, to sort by within a kind: pixels, scores, shares; 0 where there is no more or less.
        words: The same for a person, one line.
        a, b: The values, null on the side that has none.
    """

    kind: Kind
    name: str = ""
    size: float = 0.0
    words: str = ""
    a: Any = None
    b: Any = None

    @property
    def rank(self) -> tuple[int, float]:
        """To sort by, the worst first."""
        return _RANK[self.kind], -self.size


class FrameChanges(msgspec.Struct, frozen=True, kw_only=True):
    """All differences of one frame, the worst first.

    Attributes:
        captured_ns: Of the frame in run A, or B if it is only there.
        a, b: Which frame it is in each run; null where it is not.
    """

    camera: str
    captured_ns: int
    a: FrameKey | None
    b: FrameKey | None
    changes: tuple[Change, ...]

    @property
    def rank(self) -> tuple[int, float]:
        """Of its worst change."""
        return self.changes[0].rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """From which size on a difference counts.

    Attributes:
        iou: Boxes of one label that overlap by at least this share of their union are the same object.
        score: Scores that differ by no more are the same.
        box_px: Sides of a box that differ by no more are at the same place, pixels.
        number: Figures are the same if they differ by no more than this share of the larger, or by no more at all.
        ignore: Kinds, their first words ("edges"), either with a name ("feature:corners"), or "digests".
    """

    iou: float = 0.5
    score: float = 0.05
    box_px: float = 1.0
    number: float = 1e-6
    ignore: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        """Refuse what names nothing.

        Raises:
            UsageError: Names it.
        """
        known = {*KINDS, *(kind.partition(".")[0] for kind in KINDS), DIGESTS}
        for one in self.ignore:
            if one.partition(":")[0] not in known:
                raise UsageError(f"--ignore {one}: use one of {', '.join(sorted(known))}, or one of them with :NAME")

    def wants(self, change: Change) -> bool:
        """Whether a change is not to be ignored."""
        group = change.kind.partition(".")[0]
        names = (change.kind, group, f"{change.kind}:{change.name}", f"{group}:{change.name}")
        return self.ignore.isdisjoint(names)
