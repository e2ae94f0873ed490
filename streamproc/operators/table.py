"""What an operator is, and the window of pixels it works on. The table itself stands in `catalogue.py`.

Two kinds:
- a *transform* turns pixels into pixels of the same size (grey, blur, threshold, ...);
- a *measure* looks at one window and says what stands in its core (edges, corners, boxes, histograms, ...).

A new operator is one function and one row of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from streamproc.model import Rect, Result

Value: TypeAlias = bool | int | float | str
Params: TypeAlias = Mapping[str, Value]
Exactness = Literal["exact", "rounding", "no"]
"""Stitched tiles against the whole frame: bit for bit; up to float rounding; or not promised."""
PixelKind = Literal["gray", "color", "float"]
"""(rows, cols) uint8; (rows, cols, 3) uint8 BGR; (rows, cols) float32 in 0..1.

Where colour is accepted a grey frame must do as well: cameras send both.
"""


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
        low, high: Inclusive range of a number; None is open.
        choices: The only values allowed, if not empty.
        odd: A whole number must be odd (kernel sizes).
    """

    name: str
    default: Value
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    odd: bool = False


Transform: TypeAlias = Callable[[NDArray[Any], Params], NDArray[Any]]
Measure: TypeAlias = Callable[[Window, Params], Result]


def no_halo(_params: Params) -> int:
    """Say that each pixel of the result depends on the same pixel of the picture alone."""
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of the table.

    Attributes:
        run: A Transform or a Measure, by `kind`.
        accepts: Kinds of pixels it works on. Colour is turned grey for it where it takes grey and not colour.
        gives: Kind of pixels a transform makes; None for the kind it was given, and for a measure.
        halo: Pixels around the core it needs to be as exact as it claims, given its parameters.
        version: Raised when the same pixels give another result; part of the pipeline's digest and of events.
    """

    name: str
    kind: Literal["transform", "measure"]
    run: Transform | Measure
    accepts: tuple[PixelKind, ...] = ("gray",)
    gives: PixelKind | None = None
    parameters: tuple[Parameter, ...] = ()
    halo: Callable[[Params], int] = no_halo
    exact: Exactness
    version: int = 1
    meaning: str

    def defaults(self) -> dict[str, Value]:
        """Every parameter with the value it has when a pipeline does not name it."""
        return {parameter.name: parameter.default for parameter in self.parameters}
