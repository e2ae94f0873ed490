"""What happened on frames, in words: tracks, rules and anomalies, read as leniently as the frames' own events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from streamproc.report import text
from streamproc.report.facts import FrameId, is_frame, mapping, number, whole
from streamproc.report.values import CloudEvent

UPDATE = "update"
"""What a track tells of itself while it goes on; counted, not listed."""
ENDINGS = frozenset({UPDATE, "end", "leave", "below"})
"""What tells that something is over, or goes on."""
LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event of something that happened on a frame.

    Attributes:
        frame: Camera, run and sequence of the frame.
        kind: "track", "rule", "anomaly", or what another package calls it.
        step: Of the pipeline, that tells it.
        what: In the operator's own word: "new", "crossed", "begin".
        words: The same as a sentence without its full stop.
        tone: "bad" where a camera is unwell from here on, "ok" where it is well again.
    """

    frame: FrameId
    kind: str
    step: str
    what: str
    words: str
    tone: Literal["", "ok", "bad"] = ""


def happenings_of(events: Iterable[CloudEvent]) -> list[Happening]:
    """What the events that are not of frames tell, by camera, run and sequence; those of one frame in their order."""
    return sorted((_happening(event) for event in events if not is_frame(event)), key=lambda one: one.frame)


def told_frames(events: Iterable[CloudEvent]) -> list[int]:
    """Sequence numbers of the frames on which something begins that deserves a look, each once.

    Rules and anomalies do; tracks where there is nothing else.
    """
    begun = [one for one in happenings_of(events) if one.what not in ENDINGS]
    chosen = [one for one in begun if one.kind != "track"] or begun
    return list(dict.fromkeys(one.frame[2] for one in chosen))


def totals(happenings: Sequence[Happening]) -> str:
    """How often each step told what: "gate: 5 crossed; walkers: 5 new, 4 end"."""
    steps: dict[str, Counter[str]] = {}
    for one in happenings:
        steps.setdefault(one.step, Counter())[one.what] += 1
    return "; ".join(
        f"{step}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()) for step, counts in steps.items()
    )


def _happening(event: CloudEvent) -> Happening:
    about = mapping(event.get("data"))
    kind = str(event.get("type", "")).removeprefix("io.streamproc.").rpartition(".")[0]
    what, subject, data = str(about.get("what", "")), str(about.get("subject", "")), mapping(about.get("data"))
    tone: Literal["", "ok", "bad"] = ""
    if kind == "anomaly":
        tone = "bad" if what == "begin" else "ok"
    return Happening(
        frame=(str(about.get("camera", "")), str(about.get("run", "")), whole(about.get("sequence"))),
        kind=kind,
        step=text.short(str(about.get("step", "")), 64),
        what=text.short(what, 40),
        words=text.short(_words(kind, what, subject, data), 200),
        tone=tone,
    )


def _words(kind: str, what: str, subject: str, data: Mapping[str, Any]) -> str:
    if kind == "anomaly":
        return _anomaly(what, subject, data)
    label, track = str(data.get("label", "")), f"track {subject}"
    lasted = "lost" if data.get("lost") else f"after {_seconds(data, 'stayed_s')}"
    told = {
        "new": f"{label} is seen, {track}",
        UPDATE: f"{label} is still seen, {track}",
        "end": f"{label} has gone after {_seconds(data, 'age_s')}, {track}",
        "crossed": f"{label} crosses {data.get('direction', '')}, {track}; so far"
        f" {whole(data.get('left_to_right'))} left-to-right, {whole(data.get('right_to_left'))} right-to-left",
        "enter": f"{label} enters, {track}; {whole(data.get('inside'))} inside",
        "dwell": f"{label} has stayed {_seconds(data, 'stayed_s')}, {track}",
        "leave": f"{label} leaves, {lasted}, {track}; {whole(data.get('inside'))} inside",
        "above": f"{whole(data.get('now'))} at once, more than {whole(data.get('limit'))}",
        "below": f"{whole(data.get('now'))} at once, not more than {whole(data.get('limit'))} again",
    }
    known = kind in {"track", "rule"} and what in told
    return told[what] if known else " ".join(part for part in (what, subject) if part)


def _anomaly(what: str, subject: str, data: Mapping[str, Any]) -> str:
    if what != "begin":
        return f"no longer {subject}, after {_seconds(data, 'lasted_s')}"
    usual = number(data.get("usual"))
    name = str(data.get("measure", ""))
    measure = f"{name.removesuffix('_s')} {_plain(data.get('value'))}" + (" s" if name.endswith("_s") else "")
    compared = f", usually {usual:.4g}" if usual is not None else ""
    return f"{subject} since frame {whole(data.get('since_sequence')):,}: {measure}{compared}"


def _plain(value: object) -> str:
    found = number(value)
    return text.DASH if found is None else f"{found:.4g}"


def _seconds(data: Mapping[str, Any], name: str) -> str:
    found = number(data.get(name))
    return text.DASH if found is None else text.seconds(found)
