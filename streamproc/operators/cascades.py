"""A cascade of Haar features over the frame's pyramid, so that tiles find the very windows that the frame has.

OpenCV passes over a place whose left neighbour failed at the first stage, so what it reports depends on where its rows
begin. Here a place counts if its left neighbour passes the first stage: such a place is looked at wherever a row
begins. Of the windows that OpenCV finds in a whole frame this leaves out a few on the left rim of a cluster.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.pyramid import Level, level_of, scales
from streamproc.operators.table import Window

_BATCH = 512  # windows whose left neighbours are looked at in one picture


class Cascade:
    """One of OpenCV's cascades; keeps scratch space, so each thread needs its own.

    Args:
        name: File among those that come with OpenCV.
    """

    def __init__(self, name: str) -> None:
        path = Path(cv2.data.haarcascades) / name
        self._all = cv2.CascadeClassifier(str(path))
        self._first = _first_stage(path)
        self.side = int(self._all.getOriginalWindowSize()[0])

    def hits(self, window: Window, factor: float, least: int, most: int, halo: int) -> NDArray[np.int32]:
        """Find the windows, of all sizes, that pass; at least those with their centre in the core.

        Args:
            window: Grey. Windows that it does not show whole, with one step to the left, are not found.
            factor: Between sizes.
            least: Smallest size, pixels of the frame.
            most: Largest size.
            halo: Pixels around the core that `window` has, where the frame does not end before.

        Returns:
            Shape (N, 3): x, y and side, pixels of the frame.
        """
        found = [np.zeros((0, 3), np.int32)]
        most = min(most, window.width, window.height)
        for scale in scales(1.0, factor, (least - 0.5) / self.side, (most + 0.5) / self.side):
            side = round(self.side * scale)
            part = window.cropped(min(halo, cascade_halo(self.side, side)))
            level = level_of(part, float(np.float32(scale))) if least <= side <= most else None
            if level is not None and min(level.pixels.shape) >= self.side:
                x, y = self._scan(level).T
                single = np.float32(scale)
                place = [np.rint(x * single), np.rint(y * single), np.full(x.size, side)]
                found.append(np.stack(place, axis=1).astype(np.int32))
        return np.concatenate(found)

    def _scan(self, level: Level) -> NDArray[np.intp]:
        """Places in the frame's level, (N, 2), where a window passes."""
        step = 1 if np.float32(level.scale) >= 2 else 2
        left, top = level.x % step, level.y % step
        # OpenCV leaves out the last column of places, and the last row or not by the picture's width. Here both are
        # left out in the frame; a tile within it needs one more column and row of pixels to look at its last ones.
        right = int(level.x + level.pixels.shape[1] < level.width)
        bottom = int(level.y + level.pixels.shape[0] < level.height)
        pixels = cv2.copyMakeBorder(level.pixels, top, bottom, left, right, cv2.BORDER_REPLICATE)
        places = _passing(self._all, pixels, self.side, step)
        origin = np.array([level.x - left, level.y - top])
        first = np.array([left + step if level.x else 0, top])
        last = np.array([pixels.shape[1], pixels.shape[0]]) - self.side - 1
        places = places[((places >= first) & (places <= last)).all(axis=1)]
        before = places - (step, 0)
        inner = before[:, 0] >= 0
        inner[inner] = self._first_stage_passes(np.asarray(pixels, np.uint8), before[inner])
        told: NDArray[np.intp] = places[inner | (places[:, 0] + origin[0] == 0)] + origin
        return told

    def _first_stage_passes(self, pixels: Pixels, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        side = self.side
        passed = np.zeros(len(places), bool)
        for start in range(0, len(places), _BATCH):
            part = places[start : start + _BATCH]
            # One below the other, one column wider: a single place in each row, and those between are not asked for.
            sheet = np.zeros((side * len(part) + 1, side + 1), np.uint8)
            for index, (x, y) in enumerate(part.tolist()):
                sheet[index * side : (index + 1) * side, :side] = pixels[y : y + side, x : x + side]
            seen = _passing(self._first, sheet, side, 2)[:, 1]
            passed[start + seen[seen % side == 0] // side] = True
        return passed


def _passing(
    cascade: cv2.CascadeClassifier, pixels: Pixels | cv2.typing.MatLike, side: int, step: int
) -> NDArray[np.intp]:
    """Places (N, 2) at which windows of one size pass, every `step` pixels, as OpenCV comes by."""
    zoom = 1
    if step == 1:  # which OpenCV does for sizes from twice the smallest on; a doubled picture is reduced to itself
        zoom = 2
        pixels = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    size = (side * zoom, side * zoom)
    found = cascade.detectMultiScale(pixels, scaleFactor=2.0, minNeighbors=0, minSize=size, maxSize=size)
    return np.asarray(found, np.intp).reshape(-1, 4)[:, :2] // zoom


def _first_stage(path: Path) -> cv2.CascadeClassifier:
    """The first stage of a cascade alone."""
    tree = ET.parse(path)  # noqa: S314 - comes with OpenCV
    cascade = tree.getroot()[0]
    stages, count = cascade.find("stages"), cascade.find("stageNum")
    if stages is None or count is None:
        raise ValueError(f"{path} is no cascade")
    for stage in list(stages)[1:]:
        stages.remove(stage)
    count.text = "1"
    text = '<?xml version="1.0"?>\n' + ET.tostring(tree.getroot(), encoding="unicode")
    storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    first = cv2.CascadeClassifier()
    first.read(storage.getFirstTopLevelNode())
    storage.release()
    return first


def cascade_halo(side_px: int, most_px: int) -> int:
    """Halo that shows whole every window up to `most_px` whose centre is in the core, and one step to its left."""
    return most_px - most_px // 2 + 2 * math.ceil(most_px / side_px) + 2
