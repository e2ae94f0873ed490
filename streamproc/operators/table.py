"""What an operator is, and the window of pixels it works on. The table itself stands in `catalogue.py`.

Three kinds:
- a *transform* turns pixels into pixels (grey, blur, threshold, ...);
- a *measure* looks at one window and says what stands in its core (edges, corners, boxes, histograms, ...);
- a *follower* looks at one frame of a camera after the other and remembers (motion, tracks, rules, anomalies).

And two scopes:
- *tile*: works on each tile, in parallel; results are merged (`aggregator/merging.py`);
- *frame*: works on the whole frame, in the aggregator, because it cannot be put together from tiles. Transforms
  of this scope may change the size.

A new operator is one function and one row of a family's ROWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Occurrence, Rect, Result

Path2D: TypeAlias = tuple[tuple[float, float], ...]
"""Corners of a line or a polygon: (x, y) in pixels of the frame."""
Value: TypeAlias = bool | int | float | str | Path2D
Params: TypeAlias = Mapping[str, Any]
"""Values by name, each of the type of its parameter's default."""
Exactness = Literal["exact", "rounding", "no"]
"""Stitched tiles against the whole frame: bit for bit; up to float rounding; or not promised."""
PixelKind = Literal["gray", "color", "float"]
"""(rows, cols) uint8; (rows, cols, 3) uint8 BGR; (rows, cols) float32 in 0..1.

Where colour is accepted a grey frame must do as well: cameras send both.
"""
PIXEL_KINDS: frozenset[str] = frozenset(get_args(PixelKind))
Kind: TypeAlias = PixelKind | Literal["boxes", "tracks", "vitals"]
"""What an operator takes. A follower may take what another step found instead of pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Pixels of one tile and where they lie.

    Attributes:
        pixels: (rows, cols) or (rows, cols, 3); covers `rect`. uint8, or float32 after `sobel`.
        rect: What `pixels` covers, in frame coordinates.
        core: The part the tile owns; results are about this part alone.
        width, height: Of the whole frame, pixels.
    """

    pixels: NDArray[Any]
    rect: Rect
    core: Rect
    width: int
    height: int

    def cropped(self, halo: int) -> Window:
        """The same window with at most `halo` pixels around its core, as a view.

        A measure that must be exact crops first: more halo than it needs may not change what it says.
        """
        rect = self.core.grown(halo, width=self.width, height=self.height)
        if rect == self.rect:
            return self
        return replace(self, pixels=self.pixels[rect.within(self.rect)], rect=rect)

    @property
    def core_pixels(self) -> NDArray[Any]:
        """The pixels of the core alone, as a view."""
        return self.pixels[self.core.within(self.rect)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of an operator: its type is the type of `default`.

    Attributes:
        low, high: Inclusive range of a number, or of how many corners a path has; None is open.
        choices: The only values allowed, if not empty.
        odd: A whole number must be odd (kernel sizes).
        file: Text that names a file, relative to the pipeline file; its content is part of the pipeline's digest.
        required: There is no sensible default: a pipeline must name it.
        below: Name of the number that this one may not exceed; empty for none.
        zero_is_no_limit: 0 stands for no limit, so no number that names this one in `below` exceeds it.
        label: Text that is a label of what the step takes, or empty for all.
    """

    name: str
    default: Value
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    odd: bool = False
    file: bool = False
    required: bool = False
    below: str = ""
    zero_is_no_limit: bool = False
    label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One frame of a camera, as a follower is given it.

    Attributes:
        window: The whole frame as one window, if the follower takes pixels; else None.
        found: What the step that it takes found on this frame; None if that step gave nothing (it was not due, or
            too little of the frame came), and for followers that take pixels.
        captured_ns: Wall clock at capture: data, not a timer; may jump and go back.
        width, height: Of the frame, pixels.
        replenished: Parts that have not changed were not sent again: pixels that are the same as before say nothing of
            the camera.
    """

    window: Window | None
    found: Result | None
    camera: str
    run: str
    sequence: int
    captured_ns: int
    width: int
    height: int
    replenished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """What a follower says about one frame.

    Attributes:
        result: For the frame's event; None for nothing.
        occurrences: Each becomes an event of its own.
    """

    result: Result | None = None
    occurrences: tuple[Occurrence, ...] = ()


Memory: TypeAlias = dict[str, Any]
"""What a follower knows of one run of one camera: empty at first, changed in place."""

Transform: TypeAlias = Callable[[NDArray[Any], Params], NDArray[Any]]
Measure: TypeAlias = Callable[[Window, Params], Result]
Follower: TypeAlias = Callable[[Scene, Memory, Params], Sighting]
Finish: TypeAlias = Callable[[Any, Params], Result]
"""Merged result of a frame's tiles -> what the frame's event says."""
Back: TypeAlias = Callable[[NDArray[np.float64], int, int, Params], NDArray[np.float64]]
"""((N, 2) points of the changed picture, width and height before, parameters) -> points before the change."""


def no_halo(_params: Params) -> int:
    """Say that each pixel of the result depends on the same pixel of the picture alone."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of the table.

    Attributes:
        run: A Transform, a Measure or a Follower, by `kind`.
        family: Under which it is listed.
        accepts: What it works on. Colour is turned grey for it where it takes grey and not colour.
        gives: Kind of pixels a transform makes, None for the kind it was given. Of others: "gray" if steps of frame
            scope may take what it found as a picture (edges), "boxes" or "tracks" if followers may take it.
        scope: Where it works; see above. A pipeline may run an operator of tile scope on the frame as well.
        halo: Pixels around the core it needs to be as exact as it claims, given its parameters.
        exact: Of tile scope. What works on the whole frame is the same wherever seams lie.
        finish: Of a measure of tile scope whose tiles give exact partial results (sums, counts): their total.
        back: Of a transform that changes size or place: where its pixels were before.
        durable: Of a follower: its memory holds plain values only (msgpack: no arrays), at most a few kB, and so
            travels with the frame's event and survives the worker. Others begin anew with a new worker.
        check: Looks at what parameters name (models, pictures) before anything runs, and raises PipelineError.
        labels: All that the boxes it finds may be called; empty if that is not known before it runs. A built-in
            follower of boxes calls them as they were called.
        needs: Optional package it imports, as pip names it, and the extra of streamproc that brings it; or None.
        version: Raised when the same pixels give another result; part of the pipeline's digest and of events.
    """

    name: str
    kind: Literal["transform", "measure", "follower"]
    run: Transform | Measure | Follower
    family: str
    accepts: tuple[Kind, ...] = ("gray",)
    gives: Kind | None = None
    parameters: tuple[Parameter, ...] = ()
    scope: Literal["tile", "frame"] = "tile"
    halo: Callable[[Params], int] = no_halo
    exact: Exactness = "exact"
    finish: Finish | None = None
    back: Back | None = None
    durable: bool = False
    check: Callable[[Params], None] | None = None
    labels: tuple[str, ...] = ()
    needs: tuple[str, str] | None = None
    version: int = 1
    meaning: str

    def defaults(self) -> dict[str, Value]:
        """Every parameter with the value it has when a pipeline does not name it."""
        return {parameter.name: parameter.default for parameter in self.parameters}
