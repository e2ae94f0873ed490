"""A pipeline: which operators run on each tile, with which parameters, on whose result; and running it.

Written as TOML, which `pipeline_file.py` reads and checks:

    name = "default"
    [[step]]
    operator = "gray"
    [[step]]
    name = "edges"        # default: the operator's name
    operator = "canny"
    input = "gray"        # default: the nearest step above that gives what it takes, or "frame"
    every = 5             # not for transforms: on frames 0, 5, 10, ... of a run
    on = "frame"          # default "tile", where the operator can: work on the whole frame, in the aggregator
    low = 50

Steps on tiles run in extract agents (`Pipeline.run`). The others run in the aggregator (`aggregator/whole.py`); so does
every step that takes what one of them gives. Pixels that they need travel with the tile's features, as a `Patch` under
the name of their step with PATCH before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

import cv2
from numpy.typing import NDArray

from streamproc.errors import BadMessage, BadPixels, PipelineError
from streamproc.model import Patch, Rect, Result
from streamproc.operators import pixels as pictures
from streamproc.operators.patches import pack_patch
from streamproc.operators.plugins import PluginOperator
from streamproc.operators.table import Kind, Measure, Operator, Transform, Value, Window

FRAME = "frame"
"""Input of a step that works on the pixels as they were decoded."""
PATCH = "@"
"""Stands before the name of a step (or FRAME) whose pixels travel; no step can be called so."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One operator with all its parameters.

    Attributes:
        input: Name of the step whose pixels or findings it takes, or FRAME.
        every: It runs on frames whose sequence number is a multiple of it.
        on: Where it works: on each tile, or on the whole frame.
        files: SHA-256 of the file that a parameter names, by parameter.
    """

    name: str
    operator: Operator
    parameters: Mapping[str, Value]
    input: str = FRAME
    every: int = 1
    on: Literal["tile", "frame"] = "tile"
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def halo(self) -> int:
        """Pixels around a tile's core that this step looks at, in its input."""
        return self.operator.halo(self.parameters)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """Steps in the order they were written; a step's input stands above it. Made by `pipeline_file.parse`."""

    name: str
    steps: tuple[Step, ...]

    @cached_property
    def measures(self) -> tuple[Step, ...]:
        """The steps that give a result of each tile."""
        return tuple(step for step in self.steps if step.operator.kind == "measure" and step.on == "tile")

    @cached_property
    def whole(self) -> tuple[Step, ...]:
        """The steps that give a result of the whole frame, followers among them."""
        return tuple(step for step in self.steps if step.operator.kind != "transform" and step.on == "frame")

    @cached_property
    def carried(self) -> Mapping[str, tuple[Step, ...]]:
        """What pixels of tiles steps on the whole frame rest on: name (or FRAME) and the steps that do."""
        users: dict[str, list[Step]] = {}
        for step in self.whole:
            below = [link for link in self.chain(step) if link.on == "frame"][-1].input
            if below == FRAME or self[below].operator.kind == "transform":
                users.setdefault(below, []).append(step)
        return {name: tuple(steps) for name, steps in users.items()}

    @cached_property
    def halo(self) -> int:
        """Pixels of its neighbours that a tile must carry, so that every result is as exact as it claims."""
        ends = [*self.measures, *(self[name] for name in self.carried if name != FRAME)]
        return max((sum(link.halo for link in self.chain(step)) for step in ends), default=0)

    @cached_property
    def digest(self) -> str:
        """Fingerprint of all that decides results: steps, parameters, operator versions, OpenCV's version.

        Of an operator of another package also the package's name and version.
        """
        described = {
            "opencv": ".".join(cv2.__version__.split(".")[:2]),
            "steps": [
                {
                    "name": step.name,
                    "operator": step.operator.name,
                    "version": step.operator.version,
                    **({"package": step.operator.package} if isinstance(step.operator, PluginOperator) else {}),
                    "parameters": {name: value for name, value in step.parameters.items() if name not in step.files},
                    "input": step.input,
                    "every": step.every,
                    **({"on": step.on} if step.on != step.operator.scope else {}),
                    **({"files": dict(step.files)} if step.files else {}),
                }
                for step in self.steps
            ],
        }
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def operators(self) -> dict[str, int]:
        """Version of each operator that is used, by its name; part of an event's evidence."""
        return {step.operator.name: step.operator.version for step in self.steps}

    def __getitem__(self, name: str) -> Step:
        """Return the step of that name.

        Raises:
            KeyError: There is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def chain(self, step: Step) -> Iterator[Step]:
        """Yield a step and the steps it rests on, the step first."""
        yield step
        while step.input != FRAME:
            step = self[step.input]
            yield step

    def kind_of(self, name: str) -> Kind | None:
        """Say what stands under a name for others to take; the frame's pixels may be colour, and count as such."""
        if name == FRAME:
            return "color"
        step = self[name]
        if step.operator.gives or step.operator.kind != "transform":
            return step.operator.gives
        below = self.kind_of(step.input)
        return below and given(step.operator, below)

    def check(self) -> None:
        """Look at the files that steps name: models, pictures.

        Raises:
            PipelineError: Names the step and says what is wrong.
        """
        for step in self.steps:
            if step.operator.check is not None:
                try:
                    step.operator.check(step.parameters)
                except PipelineError as error:
                    raise PipelineError(f'step "{step.name}": {error}') from None

    def describe(self) -> list[dict[str, object]]:
        """Say each step as plain values, for drawing and for JSON; `input` is a step above or FRAME."""
        return [
            {
                "name": step.name,
                "operator": step.operator.name,
                "version": step.operator.version,
                "kind": step.operator.kind,
                "input": step.input,
                "every": step.every,
                "on": step.on,
                "parameters": dict(step.parameters),
                "halo": step.halo,
                "exact": step.operator.exact,
            }
            for step in self.steps
        ]

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Arrows of the graph: (input, step)."""
        return tuple((step.input, step.name) for step in self.steps)

    def due(self, sequence: int) -> tuple[str, ...]:
        """Names under which `run` gives results on this frame."""
        measures = [step.name for step in self.measures if due(step, sequence)]
        patches = [PATCH + name for name, users in self.carried.items() if any(due(step, sequence) for step in users)]
        return (*measures, *patches)

    def run(self, window: Window, sequence: int) -> dict[str, Result]:
        """Run each measure of tiles that is due; transforms are worked out at most once, and only if one needs them.

        Args:
            window: A tile with at least the pipeline's halo, clipped at the frame's border.
            sequence: Number of the frame in its run.

        Returns:
            Results by step name, of the measures that are due on this frame; and patches, see PATCH.

        Raises:
            BadMessage: reason "halo": the window carries too little.
            BadPixels: The window is no uint8 picture, or its pixels do not fill it.
        """
        if not _covers(window, self.halo):
            raise BadMessage("halo", f"the pipeline looks {self.halo} px around {window.core}, got {window.rect}")
        pictures.require_pixels(window.pixels)
        if window.pixels.shape[:2] != (window.rect.height, window.rect.width):
            raise BadPixels(f"{window.pixels.shape} pixels do not fill {window.rect}")
        work = Work(self, window)
        results: dict[str, Result] = {step.name: work.measured(step) for step in self.measures if due(step, sequence)}
        for name, users in self.carried.items():
            if any(due(step, sequence) for step in users):
                results[PATCH + name] = work.patch(name)
        return results


def due(step: Step, sequence: int) -> bool:
    """Say whether a step runs on this frame."""
    return sequence % step.every == 0


def given(operator: Operator, kind: Kind) -> Kind:
    """Say what kind of pixels an operator is handed: colour is turned grey for one that takes grey alone."""
    return "gray" if kind == "color" and kind not in operator.accepts else kind


def _covers(window: Window, halo: int) -> bool:
    needed = window.core.grown(halo, width=window.width, height=window.height)
    rect = window.rect
    return rect.x <= needed.x and rect.y <= needed.y and rect.right >= needed.right and rect.bottom >= needed.bottom


class Work:
    """Pixels under the names of the steps, worked out when first asked for.

    Args:
        pipeline: Whose steps they are.
        window: What the steps work on; `pixels` under the name FRAME.
        known: Pixels of steps that were worked out elsewhere, by name.
    """

    def __init__(self, pipeline: Pipeline, window: Window, known: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._pipeline = pipeline
        self._window = window
        self._pixels: dict[str, NDArray[Any]] = {FRAME: window.pixels} if known is None else dict(known)
        self._gray: dict[str, NDArray[Any]] = {}

    def measured(self, step: Step) -> Result:
        """Result of a measure."""
        measure = cast(Measure, step.operator.run)
        return measure(self.window(step), step.parameters)

    def window(self, step: Step) -> Window:
        """What a step is handed: its input's pixels, turned grey where it takes grey alone."""
        pixels, rect = self._given_to(step), self._window.rect
        if step.on == "tile" or pixels.shape[:2] == (rect.height, rect.width):
            return replace(self._window, pixels=pixels)
        whole = Rect(0, 0, pixels.shape[1], pixels.shape[0])  # a transform of the frame has changed its size
        return Window(pixels=pixels, rect=whole, core=whole, width=whole.width, height=whole.height)

    def add(self, name: str, pixels: NDArray[Any]) -> None:
        """Put a picture under a name: the edges that a measure found."""
        self._pixels[name] = pixels

    def shape(self, name: str) -> tuple[int, int]:
        """Width and height of what stands under a name."""
        rows, cols = self._of(name).shape[:2]
        return cols, rows

    def patch(self, name: str) -> Patch:
        """The pixels under a name that the window's core owns."""
        return pack_patch(self._of(name)[self._window.core.within(self._window.rect)], self._window.core)

    def _given_to(self, step: Step) -> NDArray[Any]:
        pixels = self._of(step.input)
        if pixels.ndim == 2 or "color" in step.operator.accepts:
            return pixels
        if step.input not in self._gray:
            self._gray[step.input] = pictures.gray(pixels)
        return self._gray[step.input]

    def _of(self, name: str) -> NDArray[Any]:
        if name not in self._pixels:
            step = self._pipeline[name]
            transform = cast(Transform, step.operator.run)
            self._pixels[name] = transform(self._given_to(step), step.parameters)
        return self._pixels[name]
