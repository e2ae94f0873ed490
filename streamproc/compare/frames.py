"""How what is told of one frame differs: its event, and the events of what happened on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from streamproc.compare.figures import Leaf, leaves, same
from streamproc.compare.objects import object_changes
from streamproc.compare.values import DIGESTS, Change, Tolerances
from streamproc.evidence.store import Told

MAX_LEAVES: Final = 1000  # that are counted of one step
_OUTCOME: Final = ("outcome", "coverage", "missing_tiles")


def frame_changes(a: Told | None, b: Told | None, tolerances: Tolerances) -> list[Change]:
    """All differences of a frame, the worst first.

    When and where a result was computed is no difference: run, times of emission, latencies, offsets, ids.

    Args:
        a: What run A tells of the frame; None if it does not know it.
        b: The same of run B.
        tolerances: What counts, and what is ignored.
    """
    if a is None or b is None:
        found = _alone(a, b)
    else:
        ours, theirs = a.data, b.data
        found = [
            *_outcome(ours, theirs),
            *_happened(a.happened, b.happened, tolerances),
            *object_changes(_list(ours, "objects"), _list(theirs, "objects"), tolerances),
            *_classification(_list(ours, "classification"), _list(theirs, "classification"), tolerances),
            *_edges(ours.get("edges") or {}, theirs.get("edges") or {}),
            *_features(ours.get("features") or {}, theirs.get("features") or {}, tolerances),
        ]
    return sorted((one for one in found if tolerances.wants(one)), key=lambda one: (one.rank, one.name, one.words))


def _alone(a: Told | None, b: Told | None) -> list[Change]:
    if a is not None:
        return [Change(kind="frame.lost", words=f"only in A: {_told(a)}", a=_brief(a))]
    if b is not None:
        return [Change(kind="frame.added", words=f"only in B: {_told(b)}", b=_brief(b))]
    return []


def _told(told: Told) -> str:
    return f"{told.data.get('outcome')}, {len(_list(told.data, 'objects'))} objects"


def _brief(told: Told) -> dict[str, Any]:
    return {"outcome": told.data.get("outcome"), "objects": told.data.get("objects"), "happened": len(told.happened)}


def _outcome(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    found = []
    ours, theirs = ({name: data.get(name) for name in _OUTCOME} for data in (a, b))
    if next(leaves(ours, theirs, number=1e-9), None) is not None:
        words = f"{b.get('outcome')} instead of {a.get('outcome')}"
        if a.get("outcome") == b.get("outcome"):
            words = f"{b.get('outcome')}, but other tiles: {_missing(b)} missing instead of {_missing(a)}"
        size = abs(float(a.get("coverage") or 0) - float(b.get("coverage") or 0))
        told = [{**one, "reason": data.get("reason")} for one, data in ((ours, a), (theirs, b))]
        found.append(Change(kind="frame.outcome", size=size, words=words, a=told[0], b=told[1]))
    sizes = [[data.get("width"), data.get("height")] for data in (a, b)]
    if sizes[0] != sizes[1]:
        words = f"{sizes[1][0]}x{sizes[1][1]} pixels instead of {sizes[0][0]}x{sizes[0][1]}"
        found.append(Change(kind="frame.size", words=words, a=sizes[0], b=sizes[1]))
    return found


def _missing(data: Mapping[str, Any]) -> int:
    return len(_list(data, "missing_tiles"))


def _happened(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], tolerances: Tolerances) -> list[Change]:
    """Events of what happened, by type, step, what and subject; several of one name in their order."""
    sides: list[dict[tuple[str, ...], list[Any]]] = [defaultdict(list), defaultdict(list)]
    for side, events in zip(sides, (a, b), strict=True):
        for event in events:
            data = event["data"]
            kind = str(event.get("type", "")).removeprefix("io.streamproc.").rpartition(".")[0]
            name = (kind, *(str(data.get(part, "")) for part in ("step", "what", "subject")))
            side[name].append(data.get("data"))
    found = []
    for name in sorted({*sides[0], *sides[1]}):
        ours, theirs = sides[0].get(name, []), sides[1].get(name, [])
        kind, step, what, subject = name
        words = f"{step}: {what} {subject}".rstrip() + f" ({kind})"
        found += [
            _changed(step, words, one, other, tolerances, digests=True)
            for one, other in zip(ours, theirs, strict=False)
        ]
        lost, added = ours[len(theirs) :], theirs[len(ours) :]
        found += [Change(kind="occurrence.lost", name=step, words=f"only in A: {words}", a=one) for one in lost]
        found += [Change(kind="occurrence.added", name=step, words=f"only in B: {words}", b=one) for one in added]
    return [one for one in found if one is not None]


def _changed(step: str, words: str, a: Any, b: Any, tolerances: Tolerances, *, digests: bool) -> Change | None:
    told = _leaves(a, b, tolerances, digests=digests)
    if not told:
        return None
    return Change(kind="occurrence.changed", name=step, size=_largest(told), words=f"{words}: {_words(told)}", a=a, b=b)


def _classification(a: Sequence[Any], b: Sequence[Any], tolerances: Tolerances) -> list[Change]:
    sides = [_by_step(side) for side in (a, b)]
    found = []
    for step in sorted({*sides[0], *sides[1]}):
        ours, theirs = sides[0].get(step, {}), sides[1].get(step, {})
        apart = max((abs(ours.get(name, 0.0) - theirs.get(name, 0.0)) for name in {*ours, *theirs}), default=0.0)
        first, second = (next(iter(side), "nothing") for side in (ours, theirs))
        if first != second:
            words = f"{step}: {second} {theirs.get(second, 0):.3g} instead of {first} {ours.get(first, 0):.3g}"
        elif apart > tolerances.score:
            words = f"{step}: still {first}, scores differ by up to {apart:.3g}"
        elif {*ours} != {*theirs}:
            words = f"{step}: still {first}, other labels below it"
        else:
            continue
        found.append(Change(kind="classification.changed", name=step, size=apart, words=words, a=ours, b=theirs))
    return found


def _by_step(labels: Sequence[Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in labels:
        score = one.get("score")
        number = float(score) if isinstance(score, int | float) else 0.0
        found.setdefault(str(one.get("source", "")), {}).setdefault(str(one.get("label", "")), number)
    return found


def _edges(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    names = ("operator", "pixels", "digest")
    if all(same(a.get(name), b.get(name), number=0) for name in names):
        return []
    pixels = [int(side.get("pixels") or 0) for side in (a, b)]
    size = abs(pixels[0] - pixels[1]) / max(1, *pixels)
    densities = [f"{100 * float(side['density']):.2f} %" if side else "none" for side in (a, b)]
    words = f"{pixels[1]:,} pixels ({densities[1]}) instead of {pixels[0]:,} ({densities[0]})"
    if pixels[0] == pixels[1]:
        words = f"as many pixels, {pixels[0]:,}, at other places"
    return [
        Change(
            kind="edges.changed",
            name=str((a or b).get("operator", "")),
            size=size,
            words=words,
            a=dict(a) or None,
            b=dict(b) or None,
        )
    ]


def _features(a: Mapping[str, Any], b: Mapping[str, Any], tolerances: Tolerances) -> list[Change]:
    found = []
    for step in sorted({*a, *b}):
        if step not in b:
            found.append(Change(kind="feature.lost", name=step, words=f"step {step} tells nothing any more", a=a[step]))
        elif step not in a:
            found.append(Change(kind="feature.added", name=step, words=f"step {step} is new", b=b[step]))
        elif told := _leaves(a[step], b[step], tolerances, digests=DIGESTS not in tolerances.ignore):
            words = f"{step}: {_words(told)}"
            found.append(
                Change(kind="feature.changed", name=step, size=_largest(told), words=words, a=a[step], b=b[step])
            )
    return found


def _leaves(a: Any, b: Any, tolerances: Tolerances, *, digests: bool) -> list[Leaf]:
    found = leaves(a, b, number=tolerances.number, digests=digests)
    return [leaf for _, leaf in zip(range(MAX_LEAVES), found, strict=False)]


def _largest(told: Sequence[Leaf]) -> float:
    return max(leaf.size for leaf in told)


def _words(told: Sequence[Leaf]) -> str:
    """The largest difference, and how many more there are."""
    worst = max(told, key=lambda leaf: leaf.size if isinstance(leaf.a, int | float) else 0)
    more = len(told) - 1
    many = f"{more:,} or more" if len(told) == MAX_LEAVES else f"{more:,}"
    return f"{worst.path or 'value'} {_short(worst.b)} instead of {_short(worst.a)}" + (
        f", and {many} more differ" if more else ""
    )


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    found = data.get(name)
    return [one for one in found if isinstance(one, Mapping | list)] if isinstance(found, list) else []
