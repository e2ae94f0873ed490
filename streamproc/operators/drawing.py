"""Pictures for people: what was found, drawn over the frame. Nothing here is measured or compared.

Every function takes grey or BGR pixels and gives a new BGR picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import DetectedObject, Pixels, Points, Rect
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.points import unpack_points

Colour = tuple[int, int, int]
"""Blue, green, red."""

GRID: Colour = (200, 200, 60)
MISSING: Colour = (60, 60, 220)
EDGE: Colour = (80, 255, 80)
POINT: Colour = (40, 180, 255)
UNKNOWN_GRAY = 40
PALETTE: tuple[Colour, ...] = ((66, 133, 244), (80, 200, 60), (60, 190, 250), (220, 120, 200), (230, 200, 70))


def stitch(parts: Iterable[tuple[Rect, Pixels]], width: int, height: int) -> Pixels:
    """Paint cores of decoded tiles into one picture; what is missing is dark grey.

    Args:
        parts: Core rectangle and its pixels, grey or BGR.
        width: Of the frame, pixels.
        height: Of the frame, pixels.

    Raises:
        BadPixels: A part does not fill its rectangle or lies outside the frame.
    """
    frame = np.full((height, width, 3), UNKNOWN_GRAY, np.uint8)
    whole = Rect(0, 0, width, height)
    for core, pixels in parts:
        inside = min(core.x, core.y) >= 0 and core.right <= width and core.bottom <= height
        if not inside or pixels.shape[:2] != (core.height, core.width):
            raise BadPixels(f"{pixels.shape} pixels do not fill {core} of a {width}x{height} frame")
        frame[core.within(whole)] = in_colour(pixels)
    return frame


def in_colour(pixels: Pixels) -> Pixels:
    """Give a BGR copy of grey or BGR pixels.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    if pixels.ndim == 3:
        return pixels.copy()
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def draw_grid(pixels: Pixels, cores: Sequence[Rect], missing: Sequence[Rect] = ()) -> Pixels:
    """Draw where a frame was cut; missing tiles are crossed out."""
    picture = in_colour(pixels)
    line = _line_px(picture)
    for core in cores:
        cv2.rectangle(picture, (core.x, core.y), (core.right - 1, core.bottom - 1), GRID, line)
    for core in missing:
        corners = ((core.x, core.y), (core.right - 1, core.bottom - 1))
        cv2.rectangle(picture, *corners, MISSING, line)
        cv2.line(picture, *corners, MISSING, line)
        cv2.line(picture, (core.x, core.bottom - 1), (core.right - 1, core.y), MISSING, line)
    return picture


def draw_boxes(pixels: Pixels, objects: Sequence[DetectedObject]) -> Pixels:
    """Draw boxes with label, score and track; one colour for each label."""
    picture = in_colour(pixels)
    line = _line_px(picture)
    for item in objects:
        colour = PALETTE[zlib.crc32(item.label.encode()) % len(PALETTE)]
        left, top, right, bottom = (round(value) for value in item.box)
        cv2.rectangle(picture, (left, top), (right, bottom), colour, line)
        words = [item.label, f"{item.score:.3g}", *([item.track] if item.track else [])]
        _draw_label(picture, " ".join(words), (left, top), colour)
    return picture


def draw_points(pixels: Pixels, points: Points, colour: Colour = POINT) -> Pixels:
    """Draw points as small rings."""
    picture = in_colour(pixels)
    radius = 1 + 2 * _line_px(picture)
    xy, _, _ = unpack_points(points)
    for x, y in np.rint(xy).astype(int).tolist():
        cv2.circle(picture, (x, y), radius, colour, 1, cv2.LINE_AA)
    return picture


def overlay_edges(pixels: Pixels, edges: NDArray[np.uint8], colour: Colour = EDGE) -> Pixels:
    """Darken a picture and draw its edges over it.

    Raises:
        BadPixels: The edges are no mask of the picture's size.
    """
    require_gray(edges)
    if edges.shape != pixels.shape[:2]:
        raise BadPixels(f"edges of {edges.shape} do not fit a picture of {pixels.shape}")
    picture = np.asarray(cv2.convertScaleAbs(in_colour(pixels), alpha=0.6), dtype=np.uint8)
    picture[edges > 0] = colour
    return picture


def draw_edges(edges: NDArray[np.uint8]) -> Pixels:
    """Edges alone, white on black.

    Raises:
        BadPixels: Not (rows, cols) uint8.
    """
    require_gray(edges)
    return in_colour(np.where(edges > 0, np.uint8(255), np.uint8(0)))


def _line_px(picture: Pixels) -> int:
    longest: int = max(picture.shape[:2])
    return max(1, round(longest / 1000))


def _draw_label(picture: Pixels, text: str, at: tuple[int, int], colour: Colour) -> None:
    # OpenCV's built-in fonts know ASCII alone.
    plain = text.encode("ascii", "replace").decode()
    size = max(0.4, max(picture.shape[:2]) / 1800)
    (width, height), below = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    left = max(0, min(at[0], picture.shape[1] - width))
    bottom = max(height + below, at[1])
    cv2.rectangle(picture, (left, bottom - height - below), (left + width, bottom), colour, cv2.FILLED)
    place = (left, bottom - below // 2 - 1)
    cv2.putText(picture, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
