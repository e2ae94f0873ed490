"""The steps of a pipeline that work on whole frames, and what followers remember of each camera's run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamproc.aggregator.assembly import ClosedFrame
from streamproc.aggregator.merging import Merged, merge_step
from streamproc.aggregator.seams import unpack
from streamproc.errors import BadMessage
from streamproc.model import Boxes, Occurrence, Patch, Points, Rect, TileHeader
from streamproc.operators.boxes import unpack_boxes
from streamproc.operators.patches import join_patches
from streamproc.operators.pipeline import FRAME, Pipeline, Step, Work, due
from streamproc.operators.points import pack_points, unpack_points
from streamproc.operators.table import PIXEL_KINDS, Back, Follower, Memory, Scene, Sighting, Window

MAX_RUNS: Final = 256  # of cameras, whose followers are remembered in one partition
MAX_PICTURED: Final = 16  # of them, those whose followers may remember pictures
MAX_MEMORY_BYTES: Final = 256 * 2**10  # of a run, in an event's header

_Memories = dict[str, Memory]  # by step


@dataclass(slots=True, kw_only=True)
class Whole:
    """What the steps on the whole frame gave.

    Attributes:
        results: By step.
        skipped: By step that gave nothing though it was due: why.
        occurrences: Step and what happened, in order.
    """

    results: dict[str, Merged] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    occurrences: list[tuple[str, Occurrence]] = field(default_factory=list)


class WholeSteps:
    """Runs the steps on the whole frame, frame after frame in the order of each run's sequence.

    Args:
        pipeline: All of it; steps on tiles are run elsewhere.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._runs: OrderedDict[tuple[str, str], _Memories] = OrderedDict()
        self._taken = frozenset(step.input for step in pipeline.steps)
        self._durable = frozenset(step.name for step in pipeline.whole if step.operator.durable)

    def run(self, closed: ClosedFrame, merged: Mapping[str, Merged], patches: Mapping[str, list[Patch]]) -> Whole:
        """Run what is due on a frame.

        A step that fails costs its own result alone. Steps that need pixels are skipped on frames that are not
        complete; so followers of findings are told that there are none.

        Args:
            closed: The frame.
            merged: What its tiles gave, by step.
            patches: Pixels of its tiles by name of the step that made them (or FRAME).
        """
        whole, sequence = Whole(), closed.header.sequence
        steps = [step for step in self.pipeline.whole if due(step, sequence)]
        if not steps:
            return whole
        memories = self._memories(closed.header)
        try:
            work = self._work(closed, merged, patches)
        except BadMessage as error:
            whole.skipped = {step.name: error.detail for step in steps}
            return whole
        for step in steps:
            try:
                self._run(step, closed, merged, work, memories, whole)
            except Exception as error:  # noqa: BLE001 - any error of an operator costs its own result
                whole.results.pop(step.name, None)
                whole.skipped[step.name] = _why(error)
        return whole

    def finish(self, merged: Mapping[str, Merged]) -> tuple[dict[str, Merged], dict[str, str]]:
        """Finish what tiles gave, by step; and of steps where that failed, why."""
        done: dict[str, Merged] = {}
        failed: dict[str, str] = {}
        for step, found in merged.items():
            try:
                done[step] = self.finished(step, found)
            except Exception as error:  # noqa: BLE001 - any error of an operator costs its own result
                failed[step] = _why(error)
        return done, failed

    def finished(self, step: str, found: Merged) -> Merged:
        """What the merged partial results of a step amount to; as they are, where they are the result."""
        operator = self.pipeline[step].operator
        if operator.finish is None or isinstance(found, np.ndarray):
            return found
        return cast(Merged, operator.finish(found, self.pipeline[step].parameters))

    def memory(self, camera: str, run: str) -> bytes:
        """What durable followers know of a run, as it travels with the run's newest event; empty if nothing."""
        memories = self._runs.get((camera, run), {})
        kept = {name: memory for name, memory in memories.items() if name in self._durable and memory}
        packed = msgspec.msgpack.encode((self.pipeline.digest, kept)) if kept else b""
        return packed if len(packed) <= MAX_MEMORY_BYTES else b""

    def remember(self, camera: str, run: str, packed: bytes) -> None:
        """Take up what an earlier worker knew of a run, unless this one knows it already or it is another pipeline's.

        Raises:
            BadMessage: reason "envelope": it cannot be read.
        """
        try:
            digest, memories = msgspec.msgpack.decode(packed, type=tuple[str, dict[str, dict[str, Any]]])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadMessage("envelope", f"memory of {camera}/{run}: {error}") from None
        if digest == self.pipeline.digest:
            self._runs.setdefault((camera, run), memories)

    def _memories(self, header: TileHeader) -> _Memories:
        """What is known of a frame's run; what was known longest ago is forgotten, pictures first."""
        key = (header.camera, header.run)
        memories = self._runs.setdefault(key, {})
        if next(reversed(self._runs)) != key:
            self._runs.move_to_end(key)
        while len(self._runs) > MAX_RUNS:
            self._runs.popitem(last=False)
        for old in list(self._runs)[: -MAX_PICTURED if len(self._runs) > MAX_PICTURED else 0]:
            for name in [name for name in self._runs[old] if name not in self._durable]:
                del self._runs[old][name]
        return memories

    def _work(
        self, closed: ClosedFrame, merged: Mapping[str, Merged], patches: Mapping[str, list[Patch]]
    ) -> Work | None:
        """The pixels that steps rest on; None if the frame is not complete or no step needs them."""
        width, height = closed.header.frame_width, closed.header.frame_height
        if closed.outcome != "complete":
            return None
        known: dict[str, NDArray[Any]] = {
            name: join_patches(parts, width, height)
            for name, parts in patches.items()
            if len(parts) == len(closed.parts)
        }
        masks = {name: found for name, found in merged.items() if isinstance(found, np.ndarray) and name in self._taken}
        known |= {name: unpack(mask, width) for name, mask in masks.items()}
        rect = Rect(0, 0, width, height)
        blank = np.zeros((0, 0), np.uint8)
        window = Window(pixels=known.get(FRAME, blank), rect=rect, core=rect, width=width, height=height)
        return Work(self.pipeline, window, known)

    def _run(
        self,
        step: Step,
        closed: ClosedFrame,
        merged: Mapping[str, Merged],
        work: Work | None,
        memories: _Memories,
        whole: Whole,
    ) -> None:
        if step.operator.kind == "follower" and not _takes_pixels(step):
            known = whole.results.get(step.input, merged.get(step.input)) if closed.outcome == "complete" else None
            self._follow(step, _scene(closed, found=known), None, memories, whole)
        elif work is None:
            whole.skipped[step.name] = f"the frame is {closed.outcome}"
        elif step.operator.kind == "follower":
            self._follow(step, _scene(closed, window=work.window(step)), work, memories, whole)
        else:
            found = self.finished(step.name, merge_step([work.measured(step)], *work.shape(step.input)))
            if isinstance(found, np.ndarray):
                work.add(step.name, unpack(found, work.shape(step.input)[0]))
            whole.results[step.name] = _in_frame(self.pipeline, step, found, work)

    def _follow(self, step: Step, scene: Scene, work: Work | None, memories: _Memories, whole: Whole) -> None:
        follow = cast(Follower, step.operator.run)
        seen: Sighting = follow(scene, memories.setdefault(step.name, {}), step.parameters)
        if seen.result is not None:
            whole.results[step.name] = _in_frame(self.pipeline, step, seen.result, work)
        whole.occurrences += [(step.name, occurrence) for occurrence in seen.occurrences]


def _scene(closed: ClosedFrame, *, window: Window | None = None, found: Any = None) -> Scene:
    header = closed.header
    return Scene(
        window=window,
        found=found,
        camera=header.camera,
        run=header.run,
        sequence=header.sequence,
        captured_ns=header.captured_ns,
        width=header.frame_width,
        height=header.frame_height,
        replenished=any(part.tile.base or part.tile.same_as is not None for part in closed.parts),
    )


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _takes_pixels(step: Step) -> bool:
    return not PIXEL_KINDS.isdisjoint(step.operator.accepts)


def _in_frame(pipeline: Pipeline, step: Step, found: Any, work: Work | None) -> Any:
    """Places in a picture that transforms have changed in size or place, as places in the frame."""
    if work is None or not isinstance(found, Boxes | Points):
        return found
    changes = [(link, back) for link in pipeline.chain(step) if link is not step and (back := link.operator.back)]
    if not changes:
        return found
    if isinstance(found, Points):
        xy, response, descriptors = unpack_points(found)
        places = _back(changes, xy.astype(np.float64), work)
        return pack_points(places, response, limit=found.limit, descriptors=descriptors)
    corners, _ = unpack_boxes(found)
    x1, y1, x2, y2 = corners.astype(np.float64).T
    four = np.stack([np.stack([x, y], axis=1) for x, y in ((x1, y1), (x2, y1), (x1, y2), (x2, y2))], axis=1)
    # Boxes end at the edges of pixels, points are their middles.
    placed = _back(changes, four.reshape(-1, 2) - 0.5, work).reshape(-1, 4, 2) + 0.5
    xyxy = np.concatenate([placed.min(axis=1), placed.max(axis=1)], axis=1)
    return msgspec.structs.replace(found, xyxy=xyxy.astype("<f4").tobytes())


def _back(changes: list[tuple[Step, Back]], places: NDArray[np.float64], work: Work) -> NDArray[np.float64]:
    for link, back in changes:
        places = back(places, *work.shape(link.input), link.parameters)
    return places
