"""A classifier slid over the picture: what it takes each window for, at several sizes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import PipelineError
from streamproc.model import Boxes, Pixels
from streamproc.operators.boxes import EVERY_BOX, box_labels, pack_boxes, suppress, unpack_boxes
from streamproc.operators.pixels import require_gray
from streamproc.operators.pyramid import Level, level_of, scales
from streamproc.operators.table import Operator, Parameter, Params, Window

BATCH: Final = 256  # windows that are judged at once
MAX_HITS: Final = 4000  # of one tile


def sliding_window(window: Window, params: Params) -> Boxes:
    """Find what a classifier knows, by showing it every window of the picture.

    The classifier is one that `streamproc train` has made. Windows lie at multiples of `step_px` of the frame's
    reduced pictures, so tiles judge the very windows of the whole frame; the classifier's scores may differ in their
    last digits. It is slow: a size has width * height / step_px**2 windows; take a large step, few sizes, every n-th
    frame.

    Args:
        window: Grey.
        params: `model`, the classifier's file; `window_px`, side of the smallest window; `step_px`, in the reduced
            picture; `scale_factor` between sizes; `max_size_px`, side of the largest window; `threshold`, least
            score; `ignore`, labels that are not told, with commas between; `iou`.

    Returns:
        Every window of the core with a score that suffices; `best_windows` chooses. Boxes labelled by class; the score
        is the classifier's, from 0 to 1.

    Raises:
        BadPixels: Not (rows, cols) uint8.
        PipelineError: The model cannot be used.
    """
    require_gray(window.pixels)
    from streamproc.operators.classifiers import load_classifier

    classifier = load_classifier(str(params["model"]))
    window = window.cropped(sliding_halo(params))
    side, step = int(params["window_px"]), int(params["step_px"])
    largest = min(int(params["max_size_px"]), window.width, window.height)
    ignored = {label.strip() for label in str(params["ignore"]).split(",")}
    found, labels = [np.zeros((0, 5))], []
    for scale in scales(1.0, float(params["scale_factor"]), 1.0, largest / side):
        level = level_of(window, scale)
        places = np.zeros((0, 2), np.intp) if level is None else _places(window, level, side, step)
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            scores = np.asarray(classifier.scores(_patches(level, part, side)), np.float64)
            best = scores.argmax(axis=1)
            names = [str(classifier.labels[index]) for index in best.tolist()]
            score = scores[np.arange(len(part)), best]
            told = [
                row
                for row, name in enumerate(names)
                if score[row] >= float(params["threshold"]) and name not in ignored
            ]
            found.append(np.column_stack([_boxes(part, side, scale), score])[told])
            labels += [names[row] for row in told]
    boxes = np.concatenate(found)[:MAX_HITS]
    return pack_boxes("window", boxes[:, :4], boxes[:, 4], iou=EVERY_BOX, labels=labels[:MAX_HITS])


def check_sliding(params: Params) -> None:
    """Load the classifier.

    Raises:
        PipelineError: It cannot be used, or `ignore` names a label that it does not have.
    """
    from streamproc.operators.classifiers import load_classifier

    known = load_classifier(str(params["model"])).labels
    for label in filter(None, (part.strip() for part in str(params["ignore"]).split(","))):
        if label not in known:
            raise PipelineError(f"{params['model']}: ignore names {label!r}, the labels are: {', '.join(known)}")


def best_windows(hits: Boxes, params: Params) -> Boxes:
    """Of windows of one class that overlap keep the best."""
    corners, scores = unpack_boxes(hits)
    labels = box_labels(hits) if scores.size else []
    return suppress(pack_boxes(hits.label, corners, scores, iou=float(params["iou"]), labels=labels))


def sliding_halo(params: Params) -> int:
    """Half of the largest window, and what sampling the reduced picture looks at around it."""
    most = max(int(params["max_size_px"]), int(params["window_px"]))
    return most - most // 2 + 2 * -(-most // int(params["window_px"])) + 2


def _boxes(places: NDArray[np.intp], side: int, scale: float) -> NDArray[np.float64]:
    corners = np.rint(places * scale)
    return np.concatenate([corners, corners + round(side * scale)], axis=1)


def _places(window: Window, level: Level, side: int, step: int) -> NDArray[np.intp]:
    """Left and top (N, 2), in the frame's level, of windows that are shown whole and have their centre in the core."""
    rows, cols = level.pixels.shape
    x, y = (
        np.arange(-(-start // step) * step, start + size - side + 1, step)
        for start, size in ((level.x, cols), (level.y, rows))
    )
    places = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
    boxes = _boxes(places, side, level.scale)
    centre_x = np.minimum((boxes[:, 0] + boxes[:, 2]) / 2, window.width - 1)
    centre_y = np.minimum((boxes[:, 1] + boxes[:, 3]) / 2, window.height - 1)
    core = window.core
    mine = (centre_x >= core.x) & (centre_x < core.right) & (centre_y >= core.y) & (centre_y < core.bottom)
    return places[mine]


def _patches(level: Level | None, places: NDArray[np.intp], side: int) -> list[Pixels]:
    if level is None:
        return []
    corners = (places - (level.x, level.y)).tolist()
    return [np.ascontiguousarray(level.pixels[y : y + side, x : x + side]) for x, y in corners]


ROWS: tuple[Operator, ...] = (
    Operator(
        name="sliding_window",
        family="detectors",
        kind="measure",
        run=sliding_window,
        check=check_sliding,
        gives="boxes",
        exact="rounding",
        needs=("onnxruntime", "recognition"),
        parameters=(
            Parameter(name="model", default="", file=True, required=True, meaning="classifier, an ONNX file"),
            Parameter(
                name="window_px",
                default=32,
                low=8,
                high=512,
                below="max_size_px",
                meaning="side of the smallest window",
            ),
            Parameter(name="step_px", default=8, low=1, high=512, meaning="step, pixels of the reduced picture"),
            Parameter(name="scale_factor", default=1.5, low=1.05, high=4, meaning="between sizes"),
            Parameter(name="max_size_px", default=64, low=8, high=1024, meaning="side of the largest window"),
            Parameter(name="threshold", default=0.9, low=0.01, high=1, meaning="least score"),
            Parameter(name="ignore", default="", meaning="labels that are not told, with commas between"),
            Parameter(name="iou", default=0.3, low=0.05, high=1, meaning="overlap from which two are one"),
        ),
        halo=sliding_halo,
        finish=best_windows,
        meaning="what a trained classifier knows, in windows of several sizes",
    ),
)
