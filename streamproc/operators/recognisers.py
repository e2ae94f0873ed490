"""Recognisers that look at windows of all sizes: faces and eyes by cascades, people by histograms of gradients.

Tiles and the whole frame look at the same windows of the same pixels (`pyramid.py`, `cascades.py`). A tile tells the
windows that pass and have their centre in its core; what is one object is decided when all are together, by OpenCV's
own grouping.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Boxes
from streamproc.operators.boxes import EVERY_BOX, pack_boxes, unpack_boxes
from streamproc.operators.cascades import Cascade, cascade_halo
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.pyramid import level_of, scales
from streamproc.operators.table import Operator, Parameter, Params, Window

FACES = "haarcascade_frontalface_default.xml"
EYES = "haarcascade_eye.xml"
HOG_WINDOW = (64, 128)
HOG_LEVELS = 64  # OpenCV's limit
SIMILAR = 0.2  # sides of one object's windows differ by this share, OpenCV's GROUP_EPS
SAME_OBJECT_IOU = 0.4
MAX_HITS = 4000  # of one tile; a face has some 30
MOST_GROUPED = 20_000  # of a frame; the time of grouping grows with the square, this is some seconds


class _Detectors(threading.local):
    """One set of detectors for each thread: they keep scratch space inside and may not be shared."""

    def __init__(self) -> None:
        self._cascades: dict[str, Cascade] = {}
        self._people: cv2.HOGDescriptor | None = None

    def cascade(self, name: str) -> Cascade:
        """One of the cascades that this module names."""
        if name not in self._cascades:
            self._cascades[name] = Cascade(name)
        return self._cascades[name]

    @property
    def people(self) -> cv2.HOGDescriptor:
        """Standing people by histograms of gradients."""
        if self._people is None:
            self._people = cv2.HOGDescriptor()
            self._people.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
        return self._people


_detectors = _Detectors()


def faces(window: Window, params: Params) -> Boxes:
    """Find frontal faces.

    Faces up to `seam_size_px` are the same boxes wherever seams lie, those of the whole frame. Larger ones are found
    where the tiles' halos show enough of their windows: take a coarser grid, a larger `seam_size_px`, or
    `on = "frame"`. On the whole frame the boxes are those of `cv2.CascadeClassifier.detectMultiScale2`, but that a
    few windows on the left rim of a face may not be counted.

    Args:
        window: Grey.
        params: `scale_factor` between sizes looked for; `min_neighbors`, more hits than this make a face, with 0
            each hit is told; `min_size_px`; `max_size_px`, 0 for no limit; `seam_size_px`.

    Returns:
        Every hit of the core; `grouped_faces` makes faces of them. Boxes "face"; the score is the number of hits.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        P. Viola, M. Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, CVPR 2001.
    """
    return _cascaded("face", FACES, window, params)


def eyes(window: Window, params: Params) -> Boxes:
    """Find eyes of frontal faces.

    Seams as for `faces`: eyes up to `seam_size_px` are found on tiles as on the whole frame.

    Args:
        window: Grey.
        params: As for `faces`.

    Returns:
        Every hit of the core; `grouped_eyes` makes eyes of them. Boxes "eye"; the score is the number of hits. On
        cluttered pictures some are no eyes: raise `min_neighbors`.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        P. Viola, M. Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, CVPR 2001.
    """
    return _cascaded("eye", EYES, window, params)


def people(window: Window, params: Params) -> Boxes:
    """Find standing people, at least about 100 pixels tall.

    People up to `seam_size_px` tall are the same boxes wherever seams lie, those of the whole frame, which are those
    of `cv2.HOGDescriptor.detectMultiScale`. Larger ones as for `faces`. It is slow: run it on every n-th frame.

    Args:
        window: Colour or grey.
        params: `scale_factor` between sizes looked for; `stride_px` of the search, in the reduced picture;
            `min_score`; `min_neighbors`, more hits than this make a person; `seam_size_px`.

    Returns:
        Every hit of the core; `grouped_people` makes people of them. Boxes "person"; the score is the distance to
        the classifier's plane.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Dalal, B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """
    require_pixels(window.pixels)
    halo = people_halo(params)
    window = window.cropped(halo)
    factor, stride = float(params["scale_factor"]), int(params["stride_px"])
    most = min(window.width / HOG_WINDOW[0], window.height / HOG_WINDOW[1])
    found = [np.zeros((0, 5))]
    for _, scale in zip(range(HOG_LEVELS), scales(1.0, factor, 1.0, most * 1.1), strict=False):
        # OpenCV stops at the first level that is smaller than its window.
        if round(window.width / scale) < HOG_WINDOW[0] or round(window.height / scale) < HOG_WINDOW[1]:
            break
        part = window.cropped(min(halo, _person_halo(round(HOG_WINDOW[1] * scale))))
        places, score = _people_at(part, scale, stride, float(params["min_score"]))
        size = np.rint(np.array(HOG_WINDOW) * scale)
        corners = np.rint(places * scale)
        found.append(np.column_stack([corners, corners + size, score]))
    listed = np.concatenate(found)
    return _owned("person", window, listed[:, :4], listed[:, 4])


def _people_at(
    window: Window, scale: float, stride: int, least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places (N, 2) in the frame's level and scores of the windows that pass."""
    level = level_of(window, scale)
    none = np.zeros((0, 2)), np.zeros(0)
    if level is None:
        return none
    left, top = level.x % stride, level.y % stride
    rows, cols = level.pixels.shape[:2]
    pixels = cv2.copyMakeBorder(level.pixels, top, 0, left, 0, cv2.BORDER_REPLICATE)
    if pixels.shape[1] < HOG_WINDOW[0] or pixels.shape[0] < HOG_WINDOW[1]:
        return none
    places, weights = _detectors.people.detect(pixels, hitThreshold=least, winStride=(stride, stride))
    x, y = (np.asarray(places, np.float64).reshape(-1, 2) - (left, top)).T
    # A gradient looks one pixel to each side; at the frame's border that is OpenCV's own affair.
    clear = (x >= (level.x > 0)) & (y >= (level.y > 0))
    clear &= x + HOG_WINDOW[0] <= cols - (level.x + cols < level.width)
    clear &= y + HOG_WINDOW[1] <= rows - (level.y + rows < level.height)
    return np.column_stack([x + level.x, y + level.y])[clear], np.asarray(weights, np.float64).reshape(-1)[clear]


def face_halo(params: Params) -> int:
    """Halo that shows whole each window of a face of `seam_size_px` whose centre is in the core."""
    return cascade_halo(24, _largest(params))


def eye_halo(params: Params) -> int:
    """Halo that shows whole each window of an eye of `seam_size_px` whose centre is in the core."""
    return cascade_halo(20, _largest(params))


def people_halo(params: Params) -> int:
    """Halo that shows whole each window of a person of `seam_size_px` whose centre is in the core."""
    return _person_halo(_largest(params))


def _person_halo(most: int) -> int:
    return most - most // 2 + 2 * math.ceil(most / HOG_WINDOW[1]) + 2


def grouped_faces(hits: Boxes, params: Params) -> Boxes:
    """Make one face of hits beside and in one another, by `cv2.groupRectangles`."""
    return _grouped(hits, params)


def grouped_eyes(hits: Boxes, params: Params) -> Boxes:
    """Make one eye of hits beside and in one another, by `cv2.groupRectangles`."""
    return _grouped(hits, params)


def grouped_people(hits: Boxes, params: Params) -> Boxes:
    """Make one person of hits beside and in one another, by `cv2.groupRectangles`; the best hit gives the score."""
    found = _grouped(hits, params)
    if not params["min_neighbors"]:
        return found
    corners, scores = unpack_boxes(hits)
    grouped, _ = unpack_boxes(found)
    best = np.array([scores[_similar(box, corners)].max(initial=-np.inf) for box in grouped])
    lowest = scores.min(initial=0)
    return pack_boxes(hits.label, grouped, np.maximum(best, lowest), iou=SAME_OBJECT_IOU)


def _similar(box: NDArray[np.float32], corners: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of (N, 4) boxes OpenCV would group with one."""
    sides, side = corners[:, 2:] - corners[:, :2], box[2:] - box[:2]
    most = SIMILAR * np.minimum(sides, side).sum(axis=1) / 2
    near: NDArray[np.bool_] = (np.abs(corners - box) <= most[:, None]).all(axis=1)
    return near


def _grouped(hits: Boxes, params: Params) -> Boxes:
    corners, scores = unpack_boxes(hits)
    if scores.size == 0 or not params["min_neighbors"]:
        return pack_boxes(hits.label, corners, scores, iou=SAME_OBJECT_IOU)
    rects, counts = cv2.groupRectangles(_xywh(corners[:MOST_GROUPED]), int(params["min_neighbors"]), SIMILAR)
    xywh = np.asarray(rects, np.float64).reshape(-1, 4)
    grouped = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return pack_boxes(hits.label, grouped, np.asarray(counts, np.float64).reshape(-1), iou=SAME_OBJECT_IOU)


def _xywh(corners: NDArray[np.float32]) -> list[list[int]]:
    whole = corners.astype(np.int32)
    rects: list[list[int]] = np.concatenate([whole[:, :2], whole[:, 2:] - whole[:, :2]], axis=1).tolist()
    return rects


def _cascaded(label: str, name: str, window: Window, params: Params) -> Boxes:
    require_gray(window.pixels)
    cascade = _detectors.cascade(name)
    halo = cascade_halo(cascade.side, _largest(params))
    window = window.cropped(halo)
    most = int(params["max_size_px"]) or max(window.width, window.height)
    hits = cascade.hits(window, float(params["scale_factor"]), int(params["min_size_px"]), most, halo)
    corners = np.column_stack([hits[:, :2], hits[:, :2] + hits[:, 2:]]).astype(np.float64)
    return _owned(label, window, corners, np.ones(len(hits)))


def _largest(params: Params) -> int:
    """Largest window that is grouped with those of an object of `seam_size_px`."""
    return math.ceil(int(params["seam_size_px"]) * (1 + SIMILAR))


def _owned(label: str, window: Window, xyxy: NDArray[np.float64], score: NDArray[np.float64]) -> Boxes:
    """Hits whose centre lies in the core: no two cores share one."""
    x, y = (xyxy[:, 0] + xyxy[:, 2]) / 2, (xyxy[:, 1] + xyxy[:, 3]) / 2
    core = window.core
    # A window may end a pixel beyond the frame: places are rounded.
    x, y = np.minimum(x, window.width - 1), np.minimum(y, window.height - 1)
    mine = (x >= core.x) & (x < core.right) & (y >= core.y) & (y < core.bottom)
    chosen = np.flatnonzero(mine)[:MAX_HITS]
    return pack_boxes(label, xyxy[chosen], score[chosen], iou=EVERY_BOX)


def _parameters(scale_factor: float, neighbors: int, least: int, seam: int) -> tuple[Parameter, ...]:
    return (
        Parameter(name="scale_factor", default=scale_factor, low=1.01, high=3, meaning="between sizes looked for"),
        Parameter(
            name="min_neighbors", default=neighbors, low=0, high=100, meaning="more hits make one; 0: tell each hit"
        ),
        Parameter(name="min_size_px", default=least, low=20, high=4096, below="max_size_px", meaning="smallest"),
        Parameter(
            name="max_size_px", default=0, low=0, high=8192, zero_is_no_limit=True, meaning="largest; 0: no limit"
        ),
        _seam_size(seam),
    )


def _seam_size(default: int) -> Parameter:
    return Parameter(
        name="seam_size_px",
        default=default,
        low=0,
        high=1024,
        meaning="size up to which an object is found wherever seams lie; 60 % of it is halo",
    )


ROWS: tuple[Operator, ...] = (
    Operator(
        name="faces",
        family="detectors",
        kind="measure",
        run=faces,
        gives="boxes",
        labels=("face",),
        exact="no",
        parameters=_parameters(1.2, 5, 48, 120),
        halo=face_halo,
        finish=grouped_faces,
        version=2,
        meaning="frontal faces by a Haar cascade",
    ),
    Operator(
        name="eyes",
        family="detectors",
        kind="measure",
        run=eyes,
        gives="boxes",
        labels=("eye",),
        exact="no",
        parameters=_parameters(1.1, 5, 20, 48),
        halo=eye_halo,
        finish=grouped_eyes,
        meaning="eyes by a Haar cascade",
    ),
    Operator(
        name="people",
        family="detectors",
        kind="measure",
        run=people,
        accepts=("color", "gray"),
        gives="boxes",
        labels=("person",),
        exact="no",
        parameters=(
            Parameter(name="scale_factor", default=1.05, low=1.01, high=3, meaning="between sizes looked for"),
            Parameter(name="stride_px", default=8, choices=(4, 8, 16), meaning="step of the search, pixels"),
            Parameter(name="min_score", default=0.5, low=-10, high=10, meaning="distance to the classifier's plane"),
            Parameter(name="min_neighbors", default=2, low=0, high=100, meaning="more hits make one; 0: tell each hit"),
            _seam_size(256),
        ),
        halo=people_halo,
        finish=grouped_people,
        version=2,
        meaning="standing people by HOG and a linear classifier",
    ),
)
