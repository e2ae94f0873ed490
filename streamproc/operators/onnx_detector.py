"""Detectors whose model the user brings: any ONNX model with boxes of YOLO's or SSD's form, and YuNet faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Boxes
from streamproc.operators.boxes import pack_boxes, suppress
from streamproc.operators.codes import printable
from streamproc.operators.files import read_model
from streamproc.operators.loaded import Loaded, PerThread
from streamproc.operators.onnx_models import input_size, letterbox, open_model, opencv_quiet, run_model
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

MARGIN_PX: Final = 16  # two tiles may place one object's centre some pixels apart; neither may leave it to the other
MAX_CANDIDATES: Final = 1000  # boxes of one picture that are compared with each other, the best
SCORE_SLACK: Final = 0.01  # numbers of 8 and 16 bits are rounded
MAX_LABELS: Final = 10_000
YUNET_FILE: Final = "face_detection_yunet_2023mar.onnx of OpenCV's model zoo"
YUNET_TRIED_PX: Final = 320
YUNET_OUTPUTS: Final = {
    f"{name}_{stride}": (values, stride)
    for name, values in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}
"""Values of each cell, and pixels between cells, by the names that `cv2.FaceDetectorYN` asks for."""
YUNET_LEAST_PX: Final = 32  # the coarsest of YuNet's grids has cells of 32 pixels

_Found = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]
"""Boxes (N, 4), left, top, right, bottom in the model's input; scores (N,); classes (N,)."""


def onnx_detector(window: Window, params: Params) -> Boxes:
    """Find what a model knows.

    Each tile is fitted into the model's input, keeping its proportions, with grey around it. So a model sees a tile
    larger than it would see the whole frame, and finds smaller things; the two are not equal. `on = "frame"` gives
    the model the whole frame. Objects up to `seam_size_px` are shown whole to the tile that owns their centre; larger
    ones may be missed or cut on tiles.

    Args:
        window: Colour or grey.
        params: `model`, an ONNX file; `labels`, a text file with the name of one class a line, in the model's order;
            `layout` of the output: "yolov5" [1, N, 5 + classes] of centre, size, objectness and class scores,
            "yolov8" [1, 4 + classes, N] of centre, size and class scores, both in pixels of the input, "ssd" two
            outputs [1, N, 4] of corners from 0 to 1 and [1, N, classes] of scores; `size` of the input where the
            model takes any; `values`, the range it takes; `rgb`; `background`, the number of the class that means
            nothing is there, -1 for none; `confidence`; `iou`; `seam_size_px`.

    Returns:
        Boxes labelled by class; the score is the model's, from 0 to 1. Of boxes of one class that overlap by `iou`,
        or of which one holds most of the other, the best stays.

    Raises:
        BadPixels: Another shape or type, or the model gives another layout.
        PipelineError: The model or the labels cannot be used.

    References:
        J. Redmon et al., You Only Look Once, CVPR 2016. W. Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016.
    """
    require_pixels(window.pixels)
    window = window.cropped(object_halo(params))
    model = open_model(str(params["model"]))
    into = input_size(model, int(params["size"]))
    fit = letterbox(window.rect.width, window.rect.height, into)
    outputs = run_model(model, window.pixels, fit, into, unit=params["values"] == "0..1", rgb=bool(params["rgb"]))
    xyxy, score, kind = decode(outputs, str(params["layout"]), into, int(params["background"]))
    if score.size and not np.isfinite(score).all():
        raise BadPixels(f"{model.name}: gave scores that are no numbers")
    sure = np.flatnonzero((score >= float(params["confidence"])) & np.isfinite(xyxy).all(axis=1))
    sure = sure[np.argsort(-score[sure], kind="stable")[:MAX_CANDIDATES]]
    names = _labels.get(str(params["labels"])) if params["labels"] else ()
    labels = [names[number] if number < len(names) else f"class {number}" for number in kind[sure].tolist()]
    return _told("object", window, fit.back(xyxy[sure]), score[sure], labels, float(params["iou"]))


def decode(outputs: list[NDArray[np.float32]], layout: str, into: tuple[int, int], background: int = -1) -> _Found:
    """Say in one form what a model gave.

    Args:
        outputs: Its outputs.
        layout: One of LAYOUTS.
        into: Width and height of its input, pixels.
        background: Class that means nothing is there; -1 for none.

    Raises:
        BadPixels: The outputs have another form, or what stands in the place of scores is none.
    """
    try:
        xyxy, scores = LAYOUTS[layout](outputs, into)
    except (IndexError, ValueError) as error:
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise BadPixels(f"layout {layout!r} does not fit a model that gives {shapes}") from error
    _require_scores(scores, layout)
    if 0 <= background < scores.shape[1]:
        scores = scores.copy()
        scores[:, background] = -1
    if scores.size == 0:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.intp)
    kind = scores.argmax(axis=1)
    return xyxy, scores[np.arange(len(scores)), kind], kind


def _require_scores(scores: NDArray[np.float64], layout: str) -> None:
    """Refuse what cannot be scores; of what is no number the caller tells.

    Raises:
        BadPixels: Numbers below 0 or above 1.
    """
    least, most = (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
    if least < -SCORE_SLACK or most > 1 + SCORE_SLACK:
        others = " or ".join(repr(other) for other in LAYOUTS if other != layout)
        raise BadPixels(
            f"layout {layout!r} does not fit the model: what it reads as scores goes from {least:.4g} to {most:.4g},"
            f" and scores lie from 0 to 1; take layout {others} or other values, or a model with a sigmoid at its end"
        )


def check_onnx(params: Params) -> None:
    """Try a model on an empty picture: is it one, does the layout fit, are there as many labels as classes?

    Raises:
        PipelineError: The model or the labels cannot be used.
    """
    model = open_model(str(params["model"]))
    into, layout = input_size(model, int(params["size"])), str(params["layout"])
    blank = np.zeros((into[1], into[0], 3), np.uint8)
    try:
        outputs = run_model(model, blank, letterbox(*into, into), into, unit=True, rgb=True)
        decode(outputs, layout, into)
        classes = LAYOUTS[layout](outputs, into)[1].shape[1]
    except BadPixels as error:
        raise PipelineError(f"{model.name}: {error.detail.removeprefix(model.name).lstrip()}") from error
    names = _labels.get(str(params["labels"])) if params["labels"] else ()
    if names and len(names) != classes:
        raise PipelineError(f"{params['labels']}: {len(names)} labels, the model tells {classes} classes apart")


def _yolov5(outputs: list[NDArray[np.float32]], _into: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = _rows(outputs[0], 6)
    return _corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:]


def _yolov8(outputs: list[NDArray[np.float32]], _into: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    if outputs[0].ndim != 3:
        raise ValueError(outputs[0].shape)
    rows = _rows(outputs[0].transpose(0, 2, 1), 5)
    return _corners(rows[:, :4]), rows[:, 4:]


def _ssd(outputs: list[NDArray[np.float32]], into: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(outputs) != 2:
        raise ValueError(len(outputs))
    first, second = (_rows(output, 1) for output in outputs)
    # Some models give the scores first; with four classes the order of the outputs is taken at its word.
    boxes, scores = (first, second) if first.shape[1] == 4 else (second, first)
    if boxes.shape[1] != 4 or len(boxes) != len(scores):
        raise ValueError(boxes.shape)
    return boxes * (*into, *into), scores


LAYOUTS: Final[dict[str, Callable[[list[NDArray[np.float32]], tuple[int, int]], tuple[NDArray[Any], NDArray[Any]]]]] = {
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "ssd": _ssd,
}


def _rows(output: NDArray[np.float32], least: int) -> NDArray[np.float64]:
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] < least:
        raise ValueError(output.shape)
    rows: NDArray[np.float64] = output[0].astype(np.float64)
    return rows


def _corners(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    half = rows[:, 2:] / 2
    return np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)


def yunet(window: Window, params: Params) -> Boxes:
    """Find faces, also turned and small ones, by YuNet.

    The model is not part of streamproc: take face_detection_yunet_2023mar.onnx from OpenCV's model zoo. Faces up to
    `seam_size_px` are shown whole to the tile that owns their centre, larger ones may be missed on tiles; boxes may
    differ by some pixels from those of the whole frame, which `on = "frame"` gives.

    Args:
        window: Colour or grey.
        params: `model`, the ONNX file; `confidence`; `iou`; `seam_size_px`.

    Returns:
        Boxes "face"; the score is from 0 to 1.

    Raises:
        BadPixels: Another shape or type, or the model failed.
        PipelineError: The file is no YuNet model.

    References:
        W. Wu et al., YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 20, 2023.
    """
    require_pixels(window.pixels)
    window = window.cropped(object_halo(params))
    detector = _yunets.get(str(params["model"]))
    pixels = cv2.cvtColor(window.pixels, cv2.COLOR_GRAY2BGR) if window.pixels.ndim == 2 else window.pixels
    bottom, right = (max(0, YUNET_LEAST_PX - side) for side in pixels.shape[:2])
    pixels = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    try:
        detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        detector.setScoreThreshold(float(params["confidence"]))
        detector.setNMSThreshold(float(params["iou"]))
        _, rows = detector.detect(pixels)
    except cv2.error as error:
        told = f"{pixels.shape[1]}x{pixels.shape[0]} pixels"
        raise BadPixels(f"{params['model']}: YuNet failed on {told}; give {YUNET_FILE}") from error
    return yunet_faces(window, rows, float(params["iou"]))


def check_yunet(params: Params) -> None:
    """Try a model on an empty picture.

    Raises:
        PipelineError: The file is no YuNet model.
    """
    _yunets.get(str(params["model"]))


def yunet_faces(window: Window, rows: NDArray[np.float32] | cv2.typing.MatLike | None, iou: float) -> Boxes:
    """Faces of a window from the rows of `cv2.FaceDetectorYN`: x, y, width, height, five marks, score; None: none."""
    listed = np.zeros((0, 15)) if rows is None else np.asarray(rows, np.float64).reshape(-1, 15)
    xyxy = np.concatenate([listed[:, :2], listed[:, :2] + listed[:, 2:4]], axis=1)
    return _told("face", window, xyxy, listed[:, 14], [], iou)


def _yunet(path: Path) -> cv2.FaceDetectorYN:
    content = np.frombuffer(read_model(path), np.uint8)
    try:
        with opencv_quiet():
            network = cv2.dnn.readNetFromONNX(content)
            network.setInput(np.zeros((1, 3, YUNET_TRIED_PX, YUNET_TRIED_PX), np.float32))
            outputs = network.forward(list(YUNET_OUTPUTS))
            # FaceDetectorYN reads them without a look at their sizes.
            if any(
                np.asarray(output).size != values * (YUNET_TRIED_PX // stride) ** 2
                for output, (values, stride) in zip(outputs, YUNET_OUTPUTS.values(), strict=True)
            ):
                raise PipelineError(f"{path}: is no YuNet model, its outputs have other sizes; give {YUNET_FILE}")
            nothing = np.zeros(0, np.uint8)
            return cv2.FaceDetectorYN.create("onnx", content, nothing, (320, 320), top_k=MAX_CANDIDATES)
    except cv2.error as error:
        raise PipelineError(
            f"{path}: is no YuNet model that OpenCV {cv2.__version__} runs, or damaged; give {YUNET_FILE}"
        ) from error


_yunets: Final = PerThread(_yunet)


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: is no UTF-8 text; labels are one name a line") from error
    if not 1 <= len(lines) <= MAX_LABELS:
        raise PipelineError(f"{path}: 1 to {MAX_LABELS} labels are wanted, one a line, it has {len(lines)}")
    return tuple(printable(line.strip()) for line in lines)


_labels: Final = Loaded(_read_labels)


def object_halo(params: Params) -> int:
    """Halo that shows an object of `seam_size_px` whole if its centre is up to MARGIN_PX off the core."""
    return -(-int(params["seam_size_px"]) // 2) + MARGIN_PX


def _told(
    label: str,
    window: Window,
    xyxy: NDArray[np.float64],
    score: NDArray[np.float64],
    labels: list[str],
    iou: float,
) -> Boxes:
    """Boxes in the window as boxes in the frame, of those with their centre in the core or just outside."""
    limits = (window.width, window.height) * 2
    placed = np.clip(xyxy + (window.rect.x, window.rect.y) * 2, 0, limits)
    mine = window.core.grown(MARGIN_PX, width=window.width, height=window.height)
    x, y = (placed[:, 0] + placed[:, 2]) / 2, (placed[:, 1] + placed[:, 3]) / 2
    solid = (placed[:, 2] > placed[:, 0]) & (placed[:, 3] > placed[:, 1])
    owned = np.flatnonzero(solid & (x >= mine.x) & (x < mine.right) & (y >= mine.y) & (y < mine.bottom))
    names = [labels[index] for index in owned] if labels else ()
    return suppress(pack_boxes(label, placed[owned], score[owned], iou=iou, labels=names))


def _common(confidence: float, iou: float, seam: int) -> tuple[Parameter, ...]:
    return (
        Parameter(name="confidence", default=confidence, low=0.01, high=1, meaning="least score"),
        Parameter(name="iou", default=iou, low=0.05, high=1, meaning="overlap from which two of one class are one"),
        Parameter(
            name="seam_size_px",
            default=seam,
            low=0,
            high=1024,
            meaning="size up to which an object is found wherever seams lie; half of it is halo",
        ),
    )


ROWS: tuple[Operator, ...] = (
    Operator(
        name="yunet",
        family="detectors",
        kind="measure",
        run=yunet,
        check=check_yunet,
        accepts=("color", "gray"),
        gives="boxes",
        labels=("face",),
        exact="no",
        parameters=(
            Parameter(name="model", default="", file=True, required=True, meaning="YuNet's ONNX file"),
            *_common(0.7, 0.3, 128),
        ),
        halo=object_halo,
        meaning="faces by YuNet, with the user's copy of the model",
    ),
    Operator(
        name="onnx_detector",
        family="detectors",
        kind="measure",
        run=onnx_detector,
        check=check_onnx,
        accepts=("color", "gray"),
        gives="boxes",
        exact="no",
        needs=("onnxruntime", "recognition"),
        parameters=(
            Parameter(name="model", default="", file=True, required=True, meaning="ONNX file"),
            Parameter(name="labels", default="", file=True, meaning="text file, one class a line"),
            Parameter(name="layout", default="yolov8", choices=tuple(LAYOUTS), meaning="form of the model's output"),
            Parameter(name="size", default=0, low=0, high=4096, meaning="side of its input, pixels; 0: the model's"),
            Parameter(name="values", default="0..1", choices=("0..1", "0..255"), meaning="range of its input"),
            Parameter(name="rgb", default=True, meaning="its first channel is red"),
            Parameter(name="background", default=-1, low=-1, high=9999, meaning="class that is nothing; -1: none"),
            *_common(0.25, 0.45, 192),
        ),
        halo=object_halo,
        meaning="what a user's ONNX model of YOLO's or SSD's form finds",
    ),
)
