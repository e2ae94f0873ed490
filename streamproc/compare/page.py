"""The page of a comparison: one file that loads nothing. The template decides how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from streamproc.compare.pictures import LEGEND, Side
from streamproc.compare.runs import Comparison
from streamproc.compare.values import KINDS, Change, FrameChanges
from streamproc.errors import StreamprocError
from streamproc.report import text

if TYPE_CHECKING:
    from jinja2 import Environment

LISTED: Final = 200
PICTURED: Final = 12
CHANGES_SHOWN: Final = 12
MEANINGS: Final[Mapping[str, str]] = {
    "frame.lost": "frames only in A",
    "frame.added": "frames only in B",
    "frame.outcome": "frames with another outcome",
    "frame.size": "frames of another size",
    "occurrence.lost": "things that happened only in A (tracks, rules, anomalies)",
    "occurrence.added": "things that happened only in B (tracks, rules, anomalies)",
    "occurrence.changed": "things that happened in both, told otherwise",
    "object.lost": "objects only in A",
    "object.added": "objects only in B",
    "object.label": "objects with another label",
    "object.moved": "objects at another place",
    "object.score": "objects with another score",
    "object.track": "objects of another track",
    "object.source": "objects found by another step",
    "classification.changed": "classifications that differ",
    "edges.changed": "frames with other edges",
    "feature.lost": "steps that tell something only in A",
    "feature.added": "steps that tell something only in B",
    "feature.changed": "steps with other figures",
}


class PageError(StreamprocError):
    """The page cannot be made: a library of the `demo` extra is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run on the page.

    Attributes:
        name: What was named on the command line.
        pipelines: Digests of the pipelines of its events, and how many frames each.
        notes: What else is to be said of it, a line each.
    """

    name: str
    frames: int
    pipelines: Mapping[str, int]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """One frame with its pictures."""

    found: FrameChanges
    sides: Sequence[Side]

    @property
    def heading(self) -> str:
        """Which frame."""
        return heading(self.found)

    @property
    def captured(self) -> str:
        """When."""
        return text.moment(self.found.captured_ns)

    @property
    def changes(self) -> Sequence[Change]:
        """The worst of them."""
        return self.found.changes[:CHANGES_SHOWN]

    @property
    def more(self) -> int:
        """How many are not shown."""
        return max(0, len(self.found.changes) - CHANGES_SHOWN)


def heading(found: FrameChanges) -> str:
    """Camera and number, as in "gate, frame 17"; both numbers where they differ."""
    numbers = [str(key.sequence) for key in (found.a, found.b) if key is not None]
    told = numbers[0] if len(set(numbers)) == 1 else f"{numbers[0]} in A, {numbers[1]} in B"
    return f"{found.camera}, frame {told}"


def counted(comparison: Comparison) -> list[tuple[str, str, int]]:
    """Kind, meaning and number of all changes, the worst kind first."""
    return [(kind, MEANINGS[kind], comparison.counts[kind]) for kind in KINDS if comparison.counts[kind]]


def verdict(comparison: Comparison) -> tuple[str, str]:
    """Headline and the line below it."""
    in_a, in_b, both = comparison.frames
    detail = f"{text.plural(both, 'frame')} in both runs, {in_a - both:,} only in A, {in_b - both:,} only in B"
    if comparison.is_same:
        return "The runs tell the same", detail
    verb = "differs" if comparison.differing == 1 else "differ"
    return f"{text.plural(comparison.differing, 'frame')} of {comparison.pairs:,} {verb}", detail


def render(a: RunFacts, b: RunFacts, comparison: Comparison, shown: Sequence[Shown], *, why_no_pictures: str) -> str:
    """Make the page, after the comparison has been gone through.

    Args:
        a: Run A.
        b: Run B.
        comparison: Its sums and its worst frames.
        shown: Frames with pictures.
        why_no_pictures: Said where none are shown.

    Raises:
        PageError: jinja2 is not installed.
    """
    headline, detail = verdict(comparison)
    worst = comparison.worst()[:LISTED]
    places = {(one.found.a, one.found.b): f"frame-{number}" for number, one in enumerate(shown, start=1)}
    tolerances = comparison.tolerances
    return (
        _environment()
        .get_template("compare.html")
        .render(
            a=a,
            b=b,
            same=comparison.is_same,
            headline=headline,
            detail=detail,
            counts=counted(comparison),
            figures=_figures(comparison),
            rows=[(heading(one), one, places.get((one.a, one.b), "")) for one in worst],
            unlisted=comparison.differing - len(worst),
            shown=shown,
            why_no_pictures=why_no_pictures,
            how=sorted(comparison.how.items()),
            tolerances=tolerances,
            ignored=", ".join(sorted(tolerances.ignore)),
            legend=[(name, f"rgb({red} {green} {blue})") for name, (blue, green, red) in LEGEND],
            style=_text("streamproc.report", "style.css") + _text("streamproc.compare", "compare.css"),
        )
    )


def _figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    in_a, in_b, both = comparison.frames
    changes = sum(comparison.counts.values())
    return [
        ("Frames in both", f"{both:,}", f"A has {in_a:,}, B has {in_b:,}"),
        ("The same", f"{comparison.same:,}", text.percent(comparison.same / max(1, comparison.pairs))),
        ("Different", f"{comparison.differing:,}", text.percent(comparison.differing / max(1, comparison.pairs))),
        ("Differences", f"{changes:,}", f"of {text.plural(len(+comparison.counts), 'kind')}"),
    ]


@cache
def _environment() -> Environment:
    """Everything a template is given is escaped unless it says otherwise; unknown names are errors."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise PageError("an HTML page needs jinja2: pip install 'streamproc[demo]'") from None
    environment = Environment(
        loader=FunctionLoader(lambda name: _text("streamproc.compare", name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = text.moment
    return environment


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")
