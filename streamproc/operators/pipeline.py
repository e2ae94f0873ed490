"""A pipeline: which operators run on each tile, with which parameters, on whose result; and running it.

Written as TOML, which `pipeline_file.py` reads and checks:

    name = "default"
    [[step]]
    operator = "gray"
    [[step]]
    name = "edges"        # default: the operator's name
    operator = "canny"
    input = "gray"        # default: the transform above it, or "frame"
    every = 5             # measures only: on frames 0, 5, 10, ... of a run
    low = 50
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import cv2
from numpy.typing import NDArray

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Result
from streamproc.operators import pixels as pictures
from streamproc.operators.table import Measure, Operator, PixelKind, Transform, Value, Window

FRAME = "frame"
"""Input of a step that works on the pixels as they were decoded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One operator with all its parameters.

    Attributes:
        input: Name of the step whose pixels it takes, or FRAME.
        every: A measure runs on frames whose sequence number is a multiple of it.
    """

    name: str
    operator: Operator
    parameters: Mapping[str, Value]
    input: str = FRAME
    every: int = 1

    @property
    def halo(self) -> int:
        """Pixels around a tile's core that this step looks at, in its input."""
        return self.operator.halo(self.parameters)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """Steps in the order they were written; a step's input stands above it. Made by `pipeline_file.parse`."""

    name: str
    steps: tuple[Step, ...]

    @property
    def measures(self) -> tuple[Step, ...]:
        """The steps that give results."""
        return tuple(step for step in self.steps if step.operator.kind == "measure")

    @cached_property
    def halo(self) -> int:
        """Pixels of its neighbours that a tile must carry, so that every result is as exact as it claims."""
        return max(sum(link.halo for link in self.chain(step)) for step in self.measures)

    @cached_property
    def digest(self) -> str:
        """Fingerprint of all that decides results: steps, parameters, operator versions, OpenCV's version."""
        described = {
            "opencv": ".".join(cv2.__version__.split(".")[:2]),
            "steps": [
                {
                    "name": step.name,
                    "operator": step.operator.name,
                    "version": step.operator.version,
                    "parameters": dict(step.parameters),
                    "input": step.input,
                    "every": step.every,
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
        """Yield a step and the transforms it rests on, the step first."""
        yield step
        while step.input != FRAME:
            step = self[step.input]
            yield step

    def kind_of(self, name: str) -> PixelKind:
        """Say what pixels stand under a name; the frame's may be colour, and count as such."""
        if name == FRAME:
            return "color"
        step = self[name]
        return step.operator.gives or given(step.operator, self.kind_of(step.input))

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

    def run(self, window: Window, sequence: int) -> dict[str, Result]:
        """Run each measure that is due; transforms are worked out at most once, and only if one needs them.

        Args:
            window: A tile with at least the pipeline's halo, clipped at the frame's border.
            sequence: Number of the frame in its run.

        Returns:
            Results by step name, of the measures that are due on this frame.

        Raises:
            BadMessage: reason "halo": the window carries too little.
            BadPixels: The window is no uint8 picture, or its pixels do not fill it.
        """
        if not _covers(window, self.halo):
            raise BadMessage("halo", f"the pipeline looks {self.halo} px around {window.core}, got {window.rect}")
        pictures.require_pixels(window.pixels)
        if window.pixels.shape[:2] != (window.rect.height, window.rect.width):
            raise BadPixels(f"{window.pixels.shape} pixels do not fill {window.rect}")
        work = _Work(self, window)
        return {step.name: work.measured(step) for step in self.measures if sequence % step.every == 0}


def given(operator: Operator, kind: PixelKind) -> PixelKind:
    """Say what kind of pixels an operator is handed: colour is turned grey for one that takes grey alone."""
    return "gray" if kind == "color" and kind not in operator.accepts else kind


def _covers(window: Window, halo: int) -> bool:
    needed = window.core.grown(halo, width=window.width, height=window.height)
    rect = window.rect
    return rect.x <= needed.x and rect.y <= needed.y and rect.right >= needed.right and rect.bottom >= needed.bottom


class _Work:
    """Pixels of one window under the names of the steps, worked out when first asked for."""

    def __init__(self, pipeline: Pipeline, window: Window) -> None:
        self._pipeline = pipeline
        self._window = window
        self._pixels: dict[str, NDArray[Any]] = {FRAME: window.pixels}
        self._gray: dict[str, NDArray[Any]] = {}

    def measured(self, step: Step) -> Result:
        """Result of a measure."""
        measure = cast(Measure, step.operator.run)
        return measure(replace(self._window, pixels=self._given_to(step)), step.parameters)

    def _given_to(self, step: Step) -> NDArray[Any]:
        """Input of a step, turned grey where it takes grey alone."""
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
