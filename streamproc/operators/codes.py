"""Codes made to be read by machines."""

from __future__ import annotations

import threading
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Boxes
from streamproc.operators.boxes import MAX_LABEL, pack_boxes
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

MARGIN_PX: Final = 16  # two tiles may place one code's centre some pixels apart; neither may leave it to the other
LEAST_PX: Final = 21  # modules of the smallest code
SAME_CODE_IOU: Final = 0.3


class _Detectors(threading.local):
    """A detector for each thread: it keeps scratch space inside."""

    def __init__(self) -> None:
        self.qr = cv2.QRCodeDetectorAruco()  # read 14 codes of 14 where cv2.QRCodeDetector read 9, and is faster


_detectors = _Detectors()


def qr_codes(window: Window, params: Params) -> Boxes:
    """Find QR codes and read them.

    Codes up to `seam_size_px` are shown whole to the tile that owns their centre. Larger ones may be missed on tiles:
    take a coarser grid, a larger `seam_size_px`, or `on = "frame"`. The detector's corners depend by a pixel or so on
    the picture around the code, and whether it reads a blurred or tilted one may do so as well.

    Args:
        window: Grey.
        params: `seam_size_px`.

    Returns:
        Boxes around the codes that could be read, labelled by their text: at most 256 characters, those that cannot
        be printed as "?". The score is 1. Codes that are seen but not read are left out.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        ISO/IEC 18004:2015, QR Code bar code symbology specification.
    """
    require_gray(window.pixels)
    window = window.cropped(code_halo(params))
    texts: list[str] = []
    boxes: list[NDArray[np.float64]] = []
    for text, corners in _read(window):
        box = np.concatenate([np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1])
        box += (window.rect.x, window.rect.y) * 2
        if _owned(window, box):
            texts.append(text)
            boxes.append(np.clip(box, 0, (window.width, window.height) * 2))
    return pack_boxes("qr", np.array(boxes).reshape(-1, 4), np.ones(len(texts)), iou=SAME_CODE_IOU, labels=texts)


def code_halo(params: Params) -> int:
    """Halo that shows a code of `seam_size_px` whole if its centre is up to MARGIN_PX off the core."""
    return -(-int(params["seam_size_px"]) // 2) + MARGIN_PX


def _read(window: Window) -> list[tuple[str, NDArray[np.float64]]]:
    """Text and corners (4, 2), in the window, of each code that can be read."""
    if min(window.pixels.shape) < LEAST_PX:
        return []
    try:
        _, texts, corners, _ = _detectors.qr.detectAndDecodeMulti(np.ascontiguousarray(window.pixels))
    except cv2.error:
        return []  # what the detector took for a code has no area
    places = np.asarray([] if not len(texts) else corners, np.float64).reshape(-1, 4, 2)
    return [
        (printable(text), place)
        for text, place in zip(texts, places, strict=False)
        if text and np.isfinite(place).all() and np.abs(place).max() < 2**20
    ]


def printable(text: str) -> str:
    """The beginning of a text, on one line, every character of which can be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_LABEL])


def _owned(window: Window, box: NDArray[np.float64]) -> bool:
    mine = window.core.grown(MARGIN_PX, width=window.width, height=window.height)
    x, y = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
    return mine.x <= x < mine.right and mine.y <= y < mine.bottom


ROWS: tuple[Operator, ...] = (
    Operator(
        name="qr_codes",
        family="detectors",
        kind="measure",
        run=qr_codes,
        gives="boxes",
        exact="no",
        parameters=(
            Parameter(
                name="seam_size_px",
                default=192,
                low=0,
                high=1024,
                meaning="size up to which a code is found wherever seams lie; half of it is halo",
            ),
        ),
        halo=code_halo,
        meaning="QR codes and their text",
    ),
)
