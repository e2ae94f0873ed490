"""Three operators of a package of their own: one of each kind."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from streamproc.model import Figures, Occurrence, Statistics
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Memory, Operator, Parameter, Params, Scene, Sighting, Window


def posterize(pixels: NDArray[Any], params: Params) -> NDArray[np.uint8]:
    """Leave few values: each becomes the middle of its step.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `levels`, how many values of each channel are left.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    levels = int(params["levels"])
    step = np.arange(256) * levels // 256
    middles = ((2 * step + 1) * 128 // levels).astype(np.uint8)
    return middles[pixels]


def sharpness(window: Window, _params: Params) -> Statistics:
    """Sum up the Laplacian of the core, in whole numbers, so that tiles add up to exactly what the frame gives.

    Args:
        window: Grey, with one pixel of halo.

    Returns:
        Sums; `sharpness_of` says what they amount to. In events: `sharpness`, the variance of the Laplacian.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. L. Pech-Pacheco et al., Diatom Autofocusing in Brightfield Microscopy: a Comparative Study, ICPR 2000.
    """
    require_gray(window.pixels)
    window = window.cropped(_one_pixel({}))
    laplacian = np.asarray(cv2.Laplacian(window.pixels, cv2.CV_16S, ksize=1), np.int64)
    core = laplacian[window.core.within(window.rect)]
    return Statistics(
        count=core.size,
        total=[int(core.sum())],
        squares=[int((core * core).sum())],
        low=[int(core.min())],
        high=[int(core.max())],
    )


def sharpness_of(sums: Statistics, _params: Params) -> Figures:
    """Variance of the Laplacian, from the sums of all tiles."""
    variance = (sums.count * sums.squares[0] - sums.total[0] ** 2) / sums.count**2
    return Figures(values={"sharpness": round(variance, 4)})


def sudden_change(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Tell when a frame is much brighter or darker than the one before.

    Args:
        scene: Grey pixels.
        memory: The mean of the last frame; plain, so it goes with the camera to another worker.
        params: `least`, grey levels.

    Returns:
        Figures `change`, grey levels since the last frame that came; nothing for the first. Occurrence "rule",
        "sudden_change", when it is `least` or more.

    Raises:
        BadPixels: Not (rows, cols) uint8.
    """
    if scene.window is None:
        return Sighting()
    require_gray(scene.window.pixels)
    now = float(scene.window.pixels.mean())
    before = memory.get("mean")
    memory["mean"] = now
    if before is None:
        return Sighting()
    change = round(now - before, 3)
    happened = Occurrence(kind="rule", what="sudden_change", data={"change": change})
    told = (happened,) if abs(change) >= float(params["least"]) else ()
    return Sighting(result=Figures(values={"change": change}), occurrences=told)


def _one_pixel(_params: Params) -> int:
    return 1


ROWS: tuple[Operator, ...] = (
    Operator(
        name="posterize",
        kind="transform",
        run=posterize,
        family="preprocess",
        accepts=("color", "gray"),
        parameters=(Parameter(name="levels", default=4, low=2, high=64, meaning="values left of each channel"),),
        meaning="few grey levels or colours",
    ),
    Operator(
        name="sharpness",
        kind="measure",
        run=sharpness,
        family="colour and texture",
        halo=_one_pixel,
        finish=sharpness_of,
        meaning="variance of the Laplacian: how sharp the frame is",
    ),
    Operator(
        name="sudden_change",
        kind="follower",
        run=sudden_change,
        family="anomalies",
        scope="frame",
        durable=True,
        parameters=(Parameter(name="least", default=20.0, low=0, high=255, meaning="grey levels that are told"),),
        meaning="the frame is much brighter or darker than the last",
    ),
)
