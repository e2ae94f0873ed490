"""Transforms of place and size: resize, crop, rotate, flip. They work on the whole frame.

Each has a `back`: points of the changed picture to points of the picture before, whole numbers being centres of
pixels, as in results.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Pixels, Rect
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Parameter, Params

MAX_SIDE_PX = 16_384
MAX_PIXELS = 2**26  # 64 MiB grey: what a changed picture may cost
INTERPOLATIONS: dict[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
QUARTER_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
FLIPS: dict[str, int] = {"horizontal": 1, "vertical": 0, "both": -1}  # codes of cv2.flip


def resize(pixels: NDArray[Any], params: Params) -> Pixels:
    """Change the size of the frame, as `cv2.resize`.

    Width and height 0 take it from `factor`; one of them 0 keeps the shape. At least one pixel is left.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `width`, `height`, pixels; `factor`; `interpolation` ("area" suits making smaller).

    Returns:
        Of the new size, uint8.

    Raises:
        BadPixels: Another shape or type, or a new size beyond 16384 px a side or 2^26 pixels.
    """
    require_pixels(pixels)
    return scaled(pixels, resized(pixels.shape[1], pixels.shape[0], params), str(params["interpolation"]))


def scaled(pixels: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """Give a picture another size, (width, height).

    Raises:
        BadPixels: The size is beyond MAX_SIDE_PX or MAX_PIXELS.
    """
    width, height = size
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise BadPixels(f"expected at most {MAX_SIDE_PX} px a side and {MAX_PIXELS} pixels, got {width}x{height}")
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=INTERPOLATIONS[interpolation]), np.uint8)


def resized(width: int, height: int, params: Params) -> tuple[int, int]:
    """Width and height after `resize`."""
    new_width, new_height = int(params["width"]), int(params["height"])
    if new_width == new_height == 0:
        factor_x = factor_y = float(params["factor"])
    else:
        factor_x = (new_width or new_height * width / height) / width
        factor_y = (new_height or new_width * height / width) / height
    return max(1, round(width * factor_x)), max(1, round(height * factor_y))


def resize_back(places: NDArray[np.float64], width: int, height: int, params: Params) -> NDArray[np.float64]:
    """Points of the resized picture as points of the picture before."""
    return scaled_back(places, (width, height), resized(width, height, params))


def scaled_back(places: NDArray[np.float64], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    """Points of a picture of size `new` as points of the same picture of size `old`, both (width, height)."""
    factor = np.array([old[0] / new[0], old[1] / new[1]])
    back: NDArray[np.float64] = (places + 0.5) * factor - 0.5
    return back


def crop(pixels: NDArray[Any], params: Params) -> Pixels:
    """Keep a rectangle of the frame; what lies outside the frame is cut off.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `x`, `y`, the upper left pixel; `width`, `height`, pixels, 0 for all that is left.

    Returns:
        The rectangle, uint8.

    Raises:
        BadPixels: Another shape or type, or the rectangle lies outside the frame.
    """
    require_pixels(pixels)
    height, width = pixels.shape[:2]
    x, y = int(params["x"]), int(params["y"])
    right = min(width, x + int(params["width"])) if params["width"] else width
    bottom = min(height, y + int(params["height"])) if params["height"] else height
    if x >= width or y >= height:
        raise BadPixels(f"expected a rectangle inside the frame of {width}x{height}, got one from {x}, {y}")
    rect = Rect(x, y, right - x, bottom - y)
    return np.ascontiguousarray(pixels[rect.within(Rect(0, 0, width, height))])


def crop_back(places: NDArray[np.float64], _width: int, _height: int, params: Params) -> NDArray[np.float64]:
    """Points of the rectangle as points of the frame."""
    return np.asarray(places + np.array([float(params["x"]), float(params["y"])]), np.float64)


def rotate(pixels: NDArray[Any], params: Params) -> Pixels:
    """Turn the frame around its centre, counter-clockwise.

    Quarter turns move whole pixels. Other angles interpolate linearly, and what no pixel covers is `fill`.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `angle`, degrees; `expand`, make the picture as large as the turned frame, else it keeps its size and
            corners are cut off; `fill`, grey level.

    Returns:
        The turned picture, uint8.

    Raises:
        BadPixels: Another shape or type, or a new size beyond 16384 px a side or 2^26 pixels.
    """
    require_pixels(pixels)
    height, width = pixels.shape[:2]
    size = turned(width, height, params)
    if max(size) > MAX_SIDE_PX or size[0] * size[1] > MAX_PIXELS:
        raise BadPixels(f"expected at most {MAX_SIDE_PX} px a side and {MAX_PIXELS} pixels, got {size[0]}x{size[1]}")
    quarters, rest = divmod(float(params["angle"]), 90)
    if rest == 0 and (size == (height, width) if quarters % 2 else size == (width, height)):
        turn = QUARTER_TURNS[int(quarters) % 4]
        return pixels if turn is None else np.asarray(cv2.rotate(pixels, turn), np.uint8)
    fill = int(params["fill"])
    matrix = _matrix(width, height, params)
    done = cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill))
    return np.asarray(done, np.uint8)


def turned(width: int, height: int, params: Params) -> tuple[int, int]:
    """Width and height after `rotate`."""
    if not params["expand"]:
        return width, height
    cos, sin = map(abs, _cos_sin(float(params["angle"])))
    # 1e-9: a size that is whole but for rounding stays whole.
    return math.ceil(width * cos + height * sin - 1e-9), math.ceil(width * sin + height * cos - 1e-9)


def rotate_back(places: NDArray[np.float64], width: int, height: int, params: Params) -> NDArray[np.float64]:
    """Points of the turned picture as points of the frame."""
    matrix = _matrix(width, height, params)
    back: NDArray[np.float64] = (places - matrix[:, 2]) @ matrix[:, :2]  # the inverse of a rotation is its transpose
    return back


def flip(pixels: NDArray[Any], params: Params) -> Pixels:
    """Mirror the frame: left and right, top and bottom, or both.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `direction`: "horizontal" swaps left and right.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    return np.asarray(cv2.flip(pixels, FLIPS[str(params["direction"])]), np.uint8)


def flip_back(places: NDArray[np.float64], width: int, height: int, params: Params) -> NDArray[np.float64]:
    """Points of the mirrored picture as points of the frame."""
    back = places.copy()
    if params["direction"] != "vertical":
        back[:, 0] = width - 1 - back[:, 0]
    if params["direction"] != "horizontal":
        back[:, 1] = height - 1 - back[:, 1]
    return back


def _cos_sin(angle: float) -> tuple[float, float]:
    """Exact for quarter turns."""
    quarters, rest = divmod(angle, 90)
    cos, sin = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    return ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[int(quarters) % 4]


def _matrix(width: int, height: int, params: Params) -> NDArray[np.float64]:
    """Shape (2, 3): centre to centre, as `cv2.getRotationMatrix2D` turns."""
    cos, sin = _cos_sin(float(params["angle"]))
    new_width, new_height = turned(width, height, params)
    turn = np.array([[cos, sin], [-sin, cos]])
    before, after = np.array([width - 1, height - 1]) / 2, np.array([new_width - 1, new_height - 1]) / 2
    return np.column_stack([turn, after - turn @ before])


_INTERPOLATION = Parameter(
    name="interpolation", default="linear", choices=tuple(INTERPOLATIONS), meaning="how values between pixels are made"
)

ROWS: tuple[Operator, ...] = (
    Operator(
        name="resize",
        family="preprocess",
        kind="transform",
        run=resize,
        accepts=("color", "gray"),
        scope="frame",
        back=resize_back,
        parameters=(
            Parameter(name="width", default=0, low=0, high=MAX_SIDE_PX, meaning="pixels; 0: by height or factor"),
            Parameter(name="height", default=0, low=0, high=MAX_SIDE_PX, meaning="pixels; 0: by width or factor"),
            Parameter(name="factor", default=0.5, low=0.01, high=8, meaning="of both sides, if both are 0"),
            _INTERPOLATION,
        ),
        meaning="another size, as cv2.resize",
    ),
    Operator(
        name="crop",
        family="preprocess",
        kind="transform",
        run=crop,
        accepts=("color", "gray"),
        scope="frame",
        back=crop_back,
        parameters=(
            Parameter(name="x", default=0, low=0, high=MAX_SIDE_PX, meaning="leftmost column"),
            Parameter(name="y", default=0, low=0, high=MAX_SIDE_PX, meaning="uppermost row"),
            Parameter(name="width", default=0, low=0, high=MAX_SIDE_PX, meaning="pixels; 0: all that is left"),
            Parameter(name="height", default=0, low=0, high=MAX_SIDE_PX, meaning="pixels; 0: all that is left"),
        ),
        meaning="a rectangle of the frame",
    ),
    Operator(
        name="rotate",
        family="preprocess",
        kind="transform",
        run=rotate,
        accepts=("color", "gray"),
        scope="frame",
        back=rotate_back,
        parameters=(
            Parameter(name="angle", default=90.0, low=-360, high=360, meaning="degrees, counter-clockwise"),
            Parameter(name="expand", default=True, meaning="make room for the turned corners"),
            Parameter(name="fill", default=0, low=0, high=255, meaning="grey level of what no pixel covers"),
        ),
        meaning="turn around the centre",
    ),
    Operator(
        name="flip",
        family="preprocess",
        kind="transform",
        run=flip,
        accepts=("color", "gray"),
        scope="frame",
        back=flip_back,
        parameters=(
            Parameter(name="direction", default="horizontal", choices=tuple(FLIPS), meaning="what changes sides"),
        ),
        meaning="mirror",
    ),
)
