"""The film that comes along: a camera panning and zooming over photographs from scikit-image's wheel.

Frame n is always the same picture, so that runs can be compared. A face (Eileen Collins, NASA, public
domain) is in view for the first 4 seconds and around each full minute, about 95 to 120 px wide.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from producers.sources.picture import read_picture
from producers.sources.source import Notices, Source
from streamproc.errors import SourceError
from streamproc.model import Frame, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEIGHT = 1280, 720
FPS = 25.0
PERIOD = 1500  # frames until the camera's way repeats: one minute

# The wall of photographs, in two rows of 512 px: all ship in the wheel, none is downloaded.
_ROW_PX = 512
_ROWS = (
    ("astronaut.png", "coffee.png", "rocket.jpg"),
    ("chelsea.png", "hubble_deep_field.jpg", "motorcycle_left.png"),
)
_MAX_PIXELS = 2_000_000


class BuiltinSource(Source):
    """Endless frames of 1280x720 at 25 fps."""

    name = "builtin"
    fps = FPS

    def __init__(self) -> None:
        self._wall = _hang(_photographs())

    def __iter__(self) -> Iterator[Frame]:
        for number in itertools.count():
            yield Frame(pixels=self.frame(number), captured_ns=time.time_ns())

    def frame(self, number: int) -> Pixels:
        """Picture `number`, shape (720, 1280, 3), uint8, BGR."""
        x, y, zoom = camera_at(number, wall_width=self._wall.shape[1], wall_height=self._wall.shape[0])
        into_wall = np.array([[1 / zoom, 0, x - WIDTH / 2 / zoom], [0, 1 / zoom, y - HEIGHT / 2 / zoom]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        view = cv2.warpAffine(self._wall, into_wall, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(view, dtype=np.uint8)

    def describe(self) -> str:
        """One line for a person."""
        return f"builtin: a camera over photographs, {WIDTH}x{HEIGHT}, 25 fps, endless"


def camera_at(number: int, *, wall_width: int, wall_height: int) -> tuple[float, float, float]:
    """Where the camera looks in frame `number`: centre x and y in pixels of the wall, and its zoom.

    A slow round over the whole wall that begins at the astronaut, with the zoom breathing between 1 and 1.3.
    """
    turn = 2 * math.pi * (number % PERIOD) / PERIOD
    zoom = 1.15 - 0.15 * math.cos(7 * turn)
    room_x, room_y = wall_width - WIDTH / zoom, wall_height - HEIGHT / zoom
    x = WIDTH / 2 / zoom + room_x * (0.5 - 0.5 * math.cos(turn))
    y = HEIGHT / 2 / zoom + room_y * (0.5 - 0.5 * math.cos(2 * turn))
    return x, y, zoom


def _photographs() -> Path:
    """Folder of the photographs; scikit-image itself is not imported.

    Raises:
        SourceError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise SourceError("source 'builtin' needs scikit-image's photographs: pip install 'streamproc[demo]'")
    return Path(next(iter(found.submodule_search_locations))) / "data"


def _hang(folder: Path) -> Pixels:
    """Scale the photographs to rows of one height and of equal width, shape (rows, cols, 3)."""
    notices = Notices(lambda _line: None)
    rows = []
    for names in _ROWS:
        photographs = [read_picture(folder / name, max_pixels=_MAX_PIXELS, notices=notices) for name in names]
        rows.append(np.hstack([_scaled(photograph) for photograph in photographs]))
    width = min(row.shape[1] for row in rows)
    return np.ascontiguousarray(np.vstack([row[:, :width] for row in rows]))


def _scaled(photograph: Pixels) -> Pixels:
    width = round(photograph.shape[1] * _ROW_PX / photograph.shape[0])
    return np.asarray(cv2.resize(photograph, (width, _ROW_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)
