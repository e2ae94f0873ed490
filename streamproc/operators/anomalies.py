"""Anomalies: a camera whose pictures are unlike its usual ones, told by what `vitals` sums up of each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Occurrence, Vitals
from streamproc.operators.stream_time import Moment, advance, fps_parameter
from streamproc.operators.table import Memory, Operator, Parameter, Params, Scene, Sighting
from streamproc.operators.views import LEAST_ANGLE, is_hidden, likeness, locate, slight_move
from streamproc.operators.vitals import cells_of, edges_of, energy, spread

Cells: TypeAlias = NDArray[np.float64]

SAMPLE_S: Final = 0.5  # of stream time between the frames that usual values are learned from
SAMPLES: Final = 64  # that are remembered
LEAST_LOOKS: Final = 2  # frames in a row that a state needs, however slow the camera
NORMAL: Final = 1.4826  # median deviation to standard deviation, of a normal distribution
DEVIATIONS: Final = 6.0  # from the median that are still usual
FLAT: Final = 5.0  # standard deviation of a picture that shows nothing, grey levels
DARK_SPREAD: Final = 10.0  # of a picture that is black; a street at night has more
BURNT, MORE_BURNT = 0.95, 0.4  # share of bright pixels, in any picture and above the usual
UNLIKE, LESS_LIKE = 0.5, 0.2  # likeness of a view that has moved, at most and below nine tenths of the usual ones
LOOKED_INTO: Final = 0.1  # below the least usual likeness, a view is looked into: it may have moved by a little
DETAIL_LOST: Final = 3.0  # binary logarithm of how much fine detail a covered lens loses
EASE: Final = 0.8  # a state is over when its measure is this part of the way back


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one measure of a frame says of one state.

    Attributes:
        measure: Its name, for the event.
        usual: Median of the camera's usual frames; None if not known or not asked.
        bad: It is in the state.
        well: It is clearly not; between the two nothing changes.
    """

    measure: str
    value: float
    usual: float | None
    bad: bool
    well: bool


def anomalies(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Notice that a camera is covered, frozen, out of focus or out of place.

    States, each told when it has lasted `hold_s` seconds of stream time and ended when it has been over for `clear_s`:
    - black: mean grey below `dark` and hardly any spread;
    - overexposed: at least 95 % of the pixels at 250 or above, or 40 points more than usual;
    - covered: the picture is flat, or the usual view is gone, and either most fine detail with it or a part of a tenth
      or more is left in its place: a board, a lorry that parks before the camera (a frame then takes about 10 ms);
    - frozen: each pixel the same for `frozen_s` seconds while frames keep coming. That is no threshold on purpose:
      cameras that take away noise, and codecs that skip what has not changed, send a quiet night all but unchanged. So
      a frozen camera whose pictures something else makes differ goes unnoticed, be it by a grey level: an encoder with
      a bit rate to keep, a clock that is drawn into them. The same picture encoded anew by the same JPEG encoder is
      the same. Where only changed tiles are sent nothing is told as frozen: `streamproc ingest` looks at what the
      camera gives;
    - moved, tilted: the view is unlike the usual one, by the slopes between cells of 1/48 of the frame, in most of its
      parts; so what stands before up to half of it does not matter. Or it is less like it than it ever is, and moving
      it back, by few cells, makes it like again. If the usual view is found turned by 2 to 30 degrees, zoomed by up
      to 1.2 or not, it is tilted; if it is found shifted, moved. Of eight photographs under passing traffic all were
      told as tilted when turned by 5, 8, 12 or 20 degrees, but for one that was zoomed by 1.1 as well; when turned by 3
      degrees, 26 of 32, the others as moved or not at all. A move of less than a cell, a turn of less than 2 degrees,
      and a camera whose view always changes go unnoticed;
    - changed: the view is unlike the usual one and not found again: the camera looks elsewhere, is turned or moved
      farther than is looked for, or something with a pattern covers all of it (patterned cloth, a wall of bricks);
    - blurred: `blur` times less fine detail (Laplacian energy for the same contrast) than usual.

    What is usual is learned from the camera itself: medians and median deviations of 64 frames, two a second, and a
    view that follows slow changes by a grey level a sample. Frames in a state teach nothing. Before `learn_s` seconds
    only black, overexposed, covered by something flat and frozen are told. What stays moved, tilted, changed, blurred
    or covered in part for `relearn_s` is usual from then on. A cut of an edited film is a changed view. Frames of
    another size begin anew, and states that were told are not ended then.

    A state needs two frames in a row, however far apart (frozen: two that equal one before). So with the defaults every
    state is told within 2 seconds from its begin at one frame a second or more; of a slower camera, with its second or
    third frame.

    Args:
        scene: Vitals of the frame, or None.
        memory: The usual view, samples and states; plain values, about 3 kB.
        params: `dark`, grey levels; `frozen_s`, `hold_s`, `clear_s`, `learn_s`, `relearn_s`, seconds of stream time;
            `blur`; `fps`.

    Returns:
        Figures `mean`, `spread` (grey levels), `bright` (share), `detail`, `sharpness` (binary logarithms), `structure`
        (likeness to the usual view, at most 1), `unchanged_s`, `learned`, and `states`, those that are told and not
        ended. Nothing on frames without vitals. Occurrences "anomaly": "begin" and "end", subject the state; their
        data: `measure`, `value`, `usual`, `since_sequence`, `lasted_s`, and of a moved view `angle` (whole degrees,
        counter-clockwise; 0 below 2) and `shift` (pixels, of its middle) where it was recognised.

    Raises:
        BadMessage: Vitals of another shape than their grid.

    References:
        N. McFarlane, C. Schofield, Segmentation and Tracking of Piglets in Images, Machine Vision and Applications 8,
        1995 (the approximate median). P. Rousseeuw, C. Croux, Alternatives to the Median Absolute Deviation, JASA 88,
        1993.
    """
    moment = advance(memory, scene, params)
    found = scene.found
    if not isinstance(found, Vitals) or found.pixels != scene.width * scene.height:
        return Sighting()
    if memory.get("size") != [scene.width, scene.height]:
        memory |= {"size": [scene.width, scene.height], "view": None, "usual": {}, "sampled_s": None, "states": {}}
        memory |= {"same": None}
    cells = _means(found, scene)
    facts = _facts(found, cells, memory, moment, scene)
    verdicts = _judge(facts, cells, memory, _is_learned(memory, params), params)
    happened: list[Occurrence] = []
    for reason, verdict in verdicts.items():
        happened += _follow(reason, verdict, cells, memory, moment, scene, params)
    if not memory["states"] and not any(verdict.bad for verdict in verdicts.values()):
        _learn(facts, cells, memory, moment)
    told = sorted(state["name"] for state in memory["states"].values() if state["name"])
    values = {name: None if value is None else round(value, 4) for name, value in facts.items()}
    learned = _is_learned(memory, params)
    return Sighting(result=Figures(values={**values, "learned": learned, "states": told}), occurrences=tuple(happened))


# --- what a frame is like -------------------------------------------------------------------------------------


def _means(found: Vitals, scene: Scene) -> Cells:
    """Mean grey level of each cell."""
    across = np.diff(edges_of(scene.width, found.columns))
    down = np.diff(edges_of(scene.height, found.rows))
    return np.asarray(cells_of(found) / np.outer(down, across), np.float64)


def _facts(found: Vitals, cells: Cells, memory: Memory, moment: Moment, scene: Scene) -> dict[str, float | None]:
    same = memory["same"]
    if same is None or same["digest"] != found.digest or scene.replenished:
        same = {"digest": found.digest, "since_s": moment.now_s, "sequence": scene.sequence, "looks": 0}
    memory["same"] = {**same, "looks": same["looks"] + 1}
    deviation, detail = spread(found), energy(found) + 0.01
    return {
        "mean": found.total / found.pixels,
        "bright": found.bright / found.pixels,
        "spread": deviation,
        "unchanged_s": moment.since(same["since_s"]),
        "detail": math.log2(detail),
        "sharpness": math.log2(detail / (deviation**2 + 1)),
        "structure": None if memory["view"] is None else likeness(_view(memory, cells), cells),
    }


# --- what it says ---------------------------------------------------------------------------------------------


def _judge(
    facts: dict[str, float | None], cells: Cells, memory: Memory, learned: bool, params: Params
) -> dict[str, Verdict]:
    """Verdicts by state; states that the picture says nothing about are left out."""
    values = {name: value for name, value in facts.items() if value is not None}
    usual: dict[str, list[float]] = memory["usual"]
    known = {name: median(samples) for name, samples in usual.items()} if learned else {}
    dark = float(params["dark"])
    verdicts = {
        "frozen": _above("unchanged_s", values, None, float(params["frozen_s"]), 0.0),
        "black": _below("mean", values, None, dark, dark / EASE, holds=values["spread"] < DARK_SPREAD),
        "overexposed": _overexposed(values, known),
    }
    view = _moved(values, cells, memory, known)
    if not (verdicts["black"].bad or verdicts["overexposed"].bad):
        verdicts["covered"] = _covered(values, known, view, cells, memory)
    if any(verdict.bad for name, verdict in verdicts.items() if name != "frozen") or view is None:
        return verdicts
    verdicts["view"] = view
    if not view.bad:
        limit = known["sharpness"] - max(math.log2(float(params["blur"])), _deviation(usual["sharpness"]))
        middle = known["sharpness"] + EASE * (limit - known["sharpness"])
        verdicts["blurred"] = _below("sharpness", values, known["sharpness"], limit, middle)
    return verdicts


def _covered(
    values: dict[str, float], known: dict[str, float], view: Verdict | None, cells: Cells, memory: Memory
) -> Verdict:
    """Whether it is flat, or unlike the usual view by something that stands before it."""
    flat = _below("spread", values, known.get("spread"), FLAT, FLAT / EASE)
    if flat.bad or view is None or not view.bad:
        return flat
    if values["detail"] < known["detail"] - DETAIL_LOST:
        return replace(flat, bad=True, well=False)
    return replace(view, well=False) if is_hidden(_view(memory, cells), cells) else flat


def _overexposed(values: dict[str, float], known: dict[str, float]) -> Verdict:
    limit = min(BURNT, known.get("bright", 1.0) + MORE_BURNT)
    return _above("bright", values, known.get("bright"), limit, EASE * limit)


def _moved(values: dict[str, float], cells: Cells, memory: Memory, known: dict[str, float]) -> Verdict | None:
    """How like the usual view it is; None if that is not known or has no structure."""
    if "structure" not in known or "structure" not in values:
        return None
    # Not the deviation: traffic makes views less alike, never more, so their likeness is far from normal.
    least = float(np.quantile(memory["usual"]["structure"], 0.1))
    limit = min(UNLIKE, least - LESS_LIKE)
    middle = known["structure"] + EASE * (limit - known["structure"])
    alike = values["structure"]
    slight = limit <= alike < least - LOOKED_INTO and slight_move(_view(memory, cells), cells, alike) is not None
    plain = _below("structure", values, known["structure"], limit, middle)
    return replace(plain, bad=plain.bad or slight, well=plain.well and not slight)


def _view(memory: Memory, cells: Cells) -> Cells:
    """The usual view."""
    return np.array(memory["view"], np.float64).reshape(cells.shape)


def _deviation(samples: list[float]) -> float:
    middle = median(samples)
    return DEVIATIONS * NORMAL * median(abs(sample - middle) for sample in samples)


def _below(
    measure: str, values: dict[str, float], usual: float | None, bad: float, well: float, *, holds: bool = True
) -> Verdict:
    value = values[measure]
    return Verdict(measure=measure, value=value, usual=usual, bad=value < bad and holds, well=value > well or not holds)


def _above(measure: str, values: dict[str, float], usual: float | None, bad: float, well: float) -> Verdict:
    value = values[measure]
    return Verdict(measure=measure, value=value, usual=usual, bad=value >= bad, well=value <= well)


# --- states over time -----------------------------------------------------------------------------------------


def _follow(
    reason: str, verdict: Verdict, cells: Cells, memory: Memory, moment: Moment, scene: Scene, params: Params
) -> list[Occurrence]:
    """Move one state on by one frame."""
    states: dict[str, dict[str, Any]] = memory["states"]
    state = states.get(reason)
    if state is None:
        if not verdict.bad:
            return []
        state = states[reason] = _begun(reason, memory, moment, scene)
    if not state["name"]:
        return _wait(reason, verdict, state, cells, memory, moment, scene, params)
    if not verdict.well:
        state["over_s"] = None
    elif state["over_s"] is None:
        state["over_s"] = moment.now_s
    relearned = verdict.measure in {"structure", "sharpness"} and moment.since(state["since_s"]) >= float(
        params["relearn_s"]
    )
    over = state["over_s"] is not None and moment.since(state["over_s"]) >= float(params["clear_s"])
    if not (over or relearned):
        return []
    del states[reason]
    if relearned and not over:
        memory |= {"view": None, "usual": {}, "sampled_s": None}
    more = {"relearned": True} if relearned and not over else {}
    return [_event("end", state, verdict, moment, more)]


def _begun(reason: str, memory: Memory, moment: Moment, scene: Scene) -> dict[str, Any]:
    since: dict[str, Any] = {"since_s": moment.now_s, "sequence": scene.sequence}
    if reason == "frozen":
        since = {key: memory["same"][key] for key in ("since_s", "sequence")}
    return {**since, "name": "", "looks": 0, "over_s": None, "place": {}}


def _wait(
    reason: str,
    verdict: Verdict,
    state: dict[str, Any],
    cells: Cells,
    memory: Memory,
    moment: Moment,
    scene: Scene,
    params: Params,
) -> list[Occurrence]:
    """Tell a state that has lasted long enough; forget one that has not."""
    if not verdict.bad:
        del memory["states"][reason]
        return []
    state["looks"] += 1
    looks = memory["same"]["looks"] - 1 if reason == "frozen" else state["looks"]
    hold_s = 0.0 if reason == "frozen" else float(params["hold_s"])
    if looks < LEAST_LOOKS or moment.since(state["since_s"]) < hold_s:
        return []
    state["name"] = reason
    if reason == "view":
        state["name"], state["place"] = _place(cells, memory, scene)
    return [_event("begin", state, verdict, moment, {})]


def _place(cells: Cells, memory: Memory, scene: Scene) -> tuple[str, dict[str, Any]]:
    """Whether the view is tilted, moved and where to, or changed for another one."""
    found = locate(_view(memory, cells), cells)
    if found is None:
        return "changed", {}
    tilted = abs(found.angle) >= LEAST_ANGLE
    shift = found.x * scene.width / cells.shape[1], found.y * scene.height / cells.shape[0]
    place = {"angle": round(found.angle) if tilted else 0, "shift": [round(side, 1) for side in shift]}
    return "tilted" if tilted else "moved", place


def _event(what: str, state: dict[str, Any], verdict: Verdict, moment: Moment, more: dict[str, Any]) -> Occurrence:
    data = {
        "measure": verdict.measure,
        "value": round(verdict.value, 4),
        "usual": None if verdict.usual is None else round(verdict.usual, 4),
        "since_sequence": state["sequence"],
        "lasted_s": round(moment.since(state["since_s"]), 3),
    }
    return Occurrence(kind="anomaly", what=what, subject=state["name"], data={**data, **state["place"], **more})


# --- what is usual --------------------------------------------------------------------------------------------


def _is_learned(memory: Memory, params: Params) -> bool:
    samples = len(memory["usual"].get("sharpness", ()))
    return samples >= min(SAMPLES, max(2, round(float(params["learn_s"]) / SAMPLE_S)))


def _learn(facts: dict[str, float | None], cells: Cells, memory: Memory, moment: Moment) -> None:
    """Take a healthy frame into what is usual, if it is time for a sample."""
    sampled_s = memory["sampled_s"]
    if sampled_s is not None and moment.since(sampled_s) < SAMPLE_S:
        return
    memory["sampled_s"] = moment.now_s
    usual: dict[str, list[float]] = memory["usual"]
    for name in ("spread", "bright", "detail", "sharpness", "structure"):
        value = facts[name]
        if value is not None:
            usual[name] = [*usual.get(name, []), round(value, 3)][-SAMPLES:]
    if memory["view"] is None:
        memory["view"] = np.rint(cells).astype(int).ravel().tolist()
        return
    view = np.array(memory["view"], np.float64)
    step = cells.ravel() - view
    count = len(usual["sharpness"])
    # A mean at first, then the approximate median: what passes by leaves no trace.
    step = np.rint(step / count) if count < SAMPLES // 4 else np.sign(np.trunc(step))
    memory["view"] = (view + step).astype(int).tolist()


ROWS: tuple[Operator, ...] = (
    Operator(
        name="anomalies",
        family="anomalies",
        kind="follower",
        run=anomalies,
        accepts=("vitals",),
        scope="frame",
        durable=True,
        version=2,
        parameters=(
            Parameter(name="dark", default=16.0, low=0, high=255, meaning="mean grey level below which it is black"),
            Parameter(name="frozen_s", default=1.5, low=0.1, high=3600, meaning="s without change that are told"),
            Parameter(name="blur", default=4.0, low=1.5, high=1000, meaning="times less fine detail than usual"),
            Parameter(name="hold_s", default=0.6, low=0, high=3600, meaning="s that another state must last"),
            Parameter(name="clear_s", default=1.0, low=0, high=3600, meaning="s that a state must be over"),
            Parameter(name="learn_s", default=3.0, low=1, high=32, meaning="s before the usual is known"),
            Parameter(name="relearn_s", default=300.0, low=1, high=86400, meaning="s after which a new view is usual"),
            fps_parameter(),
        ),
        meaning="black, overexposed, covered, frozen, moved, tilted, changed or blurred camera, with events",
    ),
)
