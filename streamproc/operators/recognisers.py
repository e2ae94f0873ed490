"""Recognisers: things found in the core of a tile, as boxes in frame coordinates.

Not exact across tiles: a detector looks at windows whose places depend on the picture it is given. A tile
reports what has its centre in its core or just outside; what two tiles report is made one by
`aggregator/merging.py`.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Boxes, Pixels
from streamproc.operators.boxes import pack_boxes
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Params, Window

FACES = "haarcascade_frontalface_default.xml"
MARGIN_PX = 16  # two tiles may place one object's centre some pixels apart; neither may leave it to the other
HOG_WINDOW = (64, 128)
SAME_OBJECT_IOU = 0.4


class _Detectors(threading.local):
    """One set of detectors for each thread: they keep scratch space inside and may not be shared."""

    def __init__(self) -> None:
        self._faces: cv2.CascadeClassifier | None = None
        self._people: cv2.HOGDescriptor | None = None

    @property
    def faces(self) -> cv2.CascadeClassifier:
        """Frontal faces by a cascade of Haar features."""
        if self._faces is None:
            self._faces = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / FACES))
        return self._faces

    @property
    def people(self) -> cv2.HOGDescriptor:
        """Standing people by histograms of gradients."""
        if self._people is None:
            self._people = cv2.HOGDescriptor()
            self._people.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
        return self._people


_detectors = _Detectors()


def seam_halo(params: Params) -> int:
    """Halo that shows an object of `seam_size_px` whole if its centre is up to MARGIN_PX off the core."""
    return -(-int(params["seam_size_px"]) // 2) + MARGIN_PX


def faces(window: Window, params: Params) -> Boxes:
    """Find frontal faces.

    Faces up to `seam_size_px` are found wherever they lie; larger ones only where one window, core and
    halo, shows them whole: take a coarser grid or a larger `seam_size_px`.

    Args:
        window: Grey.
        params: `scale_factor` between sizes looked for; `min_neighbors`, hits that make a face;
            `min_size_px`; `max_size_px`, 0 for no limit; `seam_size_px`.

    Returns:
        Boxes "face"; the score is the number of hits.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        P. Viola, M. Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, CVPR 2001.
    """
    require_gray(window.pixels)
    window = window.cropped(seam_halo(params))
    least, most = int(params["min_size_px"]), int(params["max_size_px"])
    found: NDArray[np.float64] = np.zeros((0, 4))
    hits: NDArray[np.float64] = np.zeros(0)
    if min(window.pixels.shape) >= least:
        rects, counts = _detectors.faces.detectMultiScale2(
            window.pixels,
            scaleFactor=float(params["scale_factor"]),
            minNeighbors=int(params["min_neighbors"]),
            minSize=(least, least),
            maxSize=(most, most),
        )
        found, hits = np.asarray(rects, np.float64).reshape(-1, 4), np.asarray(counts, np.float64).reshape(-1)
    return _owned("face", window, found, hits)


def people(window: Window, params: Params) -> Boxes:
    """Find standing people, at least about 100 pixels tall.

    People up to `seam_size_px` tall are found wherever they stand; larger ones as for `faces`.

    Args:
        window: Colour or grey.
        params: `scale_factor` between sizes looked for; `stride_px` of the search; `min_score`;
            `seam_size_px`.

    Returns:
        Boxes "person"; the score is the distance to the classifier's plane.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Dalal, B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """
    require_pixels(window.pixels)
    window = window.cropped(seam_halo(params))
    pixels: Pixels = np.ascontiguousarray(window.pixels)
    found: NDArray[np.float64] = np.zeros((0, 4))
    score: NDArray[np.float64] = np.zeros(0)
    if pixels.shape[1] >= HOG_WINDOW[0] and pixels.shape[0] >= HOG_WINDOW[1]:
        stride = int(params["stride_px"])
        rects, weights = _detectors.people.detectMultiScale(
            pixels,
            hitThreshold=float(params["min_score"]),
            winStride=(stride, stride),
            scale=float(params["scale_factor"]),
        )
        found, score = (
            np.asarray(rects, np.float64).reshape(-1, 4),
            np.asarray(weights, np.float64).reshape(-1),
        )
    return _owned("person", window, found, score)


def _owned(label: str, window: Window, xywh: NDArray[np.float64], score: NDArray[np.float64]) -> Boxes:
    """Boxes in frame coordinates whose centre lies in the core or up to MARGIN_PX outside it."""
    left_top = xywh[:, :2] + (window.rect.x, window.rect.y)
    right_bottom = left_top + xywh[:, 2:]
    x, y = ((left_top + right_bottom) / 2).T
    mine = window.core.grown(MARGIN_PX, width=window.width, height=window.height)
    owned = (x >= mine.x) & (x < mine.right) & (y >= mine.y) & (y < mine.bottom)
    corners = np.concatenate([left_top, right_bottom], axis=1)[owned]
    corners = np.clip(corners, 0, (window.width, window.height) * 2)
    return pack_boxes(label, corners, score[owned], iou=SAME_OBJECT_IOU)
