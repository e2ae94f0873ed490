"""Classifiers of whole pictures: pooled features of a picture, and a trained model in an ONNX file that judges them.

A model comes from `streamproc train`. Its file says which features it takes and what its labels are, so nothing else
is needed to run it. Training and running call the same `pooled_features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Labels, Pixels
from streamproc.operators.files import read_model
from streamproc.operators.loaded import Loaded
from streamproc.operators.onnx_models import open_session
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

SIDE_PX: Final = 32  # of the square that a picture is resized to
CELLS: Final = (8, 4)  # gradients are pooled over 8x8 cells, and over 4x4
DIRECTIONS: Final = 8
LUMA_CELLS: Final = 8
COLOUR_CELLS: Final = 4
FEATURES: Final = DIRECTIONS * sum(cells**2 for cells in CELLS) + LUMA_CELLS**2 + 2 * COLOUR_CELLS**2
RECIPE: Final[dict[str, int | str]] = {"name": "pooled gradients", "side_px": SIDE_PX, "values": FEATURES, "version": 1}
"""Names what `pooled_features` computes; raise the version when the same picture gives other values."""

METADATA: Final = "streamproc.classifier"
INPUT: Final = "features"
MAX_LABELS: Final = 256
MAX_LABEL_CHARS: Final = 100
MAX_MODEL_BYTES: Final = 256 * 2**20
_MAX_METADATA_CHARS: Final = 1_000_000
_LEAST_NORM: Final = np.float32(0.01)  # of a part of the features: noise on a flat picture stays small
_FULL: Final = np.float32(255)


class ClassifierFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's file says of itself, as JSON under METADATA of its `metadata_props`.

    Attributes:
        features: RECIPE of the features it was trained on.
        labels: By column of its scores.
        kind: How it was trained: "svm" or "softmax".
    """

    features: dict[str, int | str]
    labels: list[str]
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifier:
    """A loaded model; may be used by several threads.

    Attributes:
        name: Its file.
        labels: What it tells apart, by column of its scores.
        kind: How it was trained.
        session: onnxruntime's.
    """

    name: str
    labels: tuple[str, ...]
    kind: str
    session: Any

    def scores(self, patches: Sequence[Pixels]) -> NDArray[np.float32]:
        """Judge pictures of any size.

        Args:
            patches: N of (rows, cols) or (rows, cols, 3) BGR, uint8.

        Returns:
            (N, L) in 0..1, by label.

        Raises:
            BadPixels: Another shape or type, or the model failed.
        """
        features = [pooled_features(patch) for patch in patches]
        return self.scores_of(np.array(features, np.float32).reshape(-1, FEATURES))

    def scores_of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Judge what `pooled_features` gave.

        Args:
            features: (N, FEATURES).

        Returns:
            (N, L) in 0..1, by label.

        Raises:
            BadPixels: The model failed, or gave something else than scores.
        """
        if not len(features):
            return np.zeros((0, len(self.labels)), np.float32)
        try:
            (scores,) = self.session.run(["probabilities"], {INPUT: features})
        except Exception as error:
            # onnxruntime raises a class of its own for each way in which a model can fail
            raise BadPixels(f"{self.name} failed on {len(features)} pictures") from error
        expected = (len(features), len(self.labels))
        if not isinstance(scores, np.ndarray) or scores.shape != expected or not np.isfinite(scores).all():
            told = f"{getattr(scores, 'shape', type(scores).__name__)}"
            raise BadPixels(f"{self.name} gave {told}, expected {expected} finite scores")
        return np.clip(np.asarray(scores, np.float32), 0, 1)


def pooled_features(pixels: Pixels) -> NDArray[np.float32]:
    """Describe a picture by its gradients, brightness and colour, pooled over cells.

    The picture is resized to a square, whatever its shape. Gradients of its grey levels are shared out among
    directions all around and summed over cells, at two sizes of cells; then come pooled grey levels, and pooled
    differences of blue and red to green. Gradients and grey levels are made independent of contrast. A grey picture has
    the features of the colour picture that shows the same.

    Args:
        pixels: (rows, cols) or (rows, cols, 3) BGR, uint8, of any size.

    Returns:
        FEATURES values, float32.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Dalal, B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """
    require_pixels(pixels)
    how = cv2.INTER_AREA if max(pixels.shape[:2]) > SIDE_PX else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=how), np.uint8)
    gray = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    light = np.asarray(gray, np.float32) / _FULL
    shares = _by_direction(light)
    parts = [np.sqrt(_unit(_pooled(shares, cells))) for cells in CELLS]
    levels = _pooled(light[None], LUMA_CELLS) / np.float32((SIDE_PX // LUMA_CELLS) ** 2)
    return np.concatenate([*parts, _unit(levels - levels.mean()), _colours(small)])


def _by_direction(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """(DIRECTIONS, rows, cols): strength of the gradient, shared between the two directions nearest to its own."""
    wide = np.pad(light, 1, mode="edge")
    along, down = wide[1:-1, 2:] - wide[1:-1, :-2], wide[2:, 1:-1] - wide[:-2, 1:-1]
    turn = np.arctan2(down, along) * np.float32(DIRECTIONS / (2 * np.pi))
    below = np.floor(turn)
    upper_share, lower = turn - below, below.astype(np.intp) % DIRECTIONS
    strength = np.sqrt(along * along + down * down)
    shares = np.zeros((DIRECTIONS, *light.shape), np.float32)
    rows, cols = np.indices(light.shape)
    shares[lower, rows, cols] = strength * (1 - upper_share)
    shares[(lower + 1) % DIRECTIONS, rows, cols] = strength * upper_share
    return shares


def _pooled(planes: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Sums over cells x cells equal parts of each plane, as one row."""
    side = SIDE_PX // cells
    sums: NDArray[np.float32] = planes.reshape(len(planes), cells, side, cells, side).sum(axis=(2, 4), dtype=np.float32)
    return sums.reshape(-1)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = values / np.sqrt((values * values).sum() + _LEAST_NORM)
    return scaled


def _colours(small: Pixels) -> NDArray[np.float32]:
    """Mean difference of blue and of red to green in each cell, in -1..1; zeros for grey."""
    if small.ndim == 2:
        return np.zeros(2 * COLOUR_CELLS**2, np.float32)
    values = small.astype(np.float32) / _FULL
    differences = np.stack([values[:, :, 0] - values[:, :, 1], values[:, :, 2] - values[:, :, 1]])
    return _pooled(differences, COLOUR_CELLS) / np.float32((SIDE_PX // COLOUR_CELLS) ** 2)


def load_classifier(path: str | Path) -> Classifier:
    """Give the classifier of a file, loaded once for each process.

    Raises:
        PipelineError: The file cannot be read, is no model of `streamproc train`, or takes features that this version
            does not make; or onnxruntime is not installed.
    """
    return _classifiers.get(str(path))


def _open(path: Path) -> Classifier:
    session = open_session(path, read_model(path, MAX_MODEL_BYTES))
    facts = _facts(path, session.get_modelmeta().custom_metadata_map.get(METADATA))
    takes, gives = session.get_inputs(), [one.name for one in session.get_outputs()]
    if [(one.name, one.type) for one in takes] != [(INPUT, "tensor(float)")] or "probabilities" not in gives:
        raise PipelineError(f"{path}: does not take features and give probabilities: train it with streamproc train")
    classifier = Classifier(name=str(path), labels=tuple(facts.labels), kind=facts.kind, session=session)
    try:
        classifier.scores_of(np.zeros((1, FEATURES), np.float32))
    except BadPixels as error:
        raise PipelineError(f"{error.detail}: the model is damaged, train it again") from error
    return classifier


def _facts(path: Path, told: str | None) -> ClassifierFacts:
    """Read and judge what a file says of itself."""
    if told is None:
        raise PipelineError(f"{path}: is a model, but no classifier of streamproc: make one with streamproc train")
    try:
        if len(told) > _MAX_METADATA_CHARS:
            raise msgspec.ValidationError(f"{len(told)} characters are too many")
        facts = msgspec.json.decode(told, type=ClassifierFacts)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise PipelineError(f"{path}: its {METADATA} metadata is damaged: train it again") from error
    if facts.features != RECIPE:
        raise PipelineError(f"{path}: takes features {facts.features}, this version makes {RECIPE}: train it again")
    wrong = wrong_labels(facts.labels)
    if wrong is not None:
        raise PipelineError(f"{path}: {wrong}: train it again")
    return facts


def wrong_labels(labels: Sequence[str]) -> str | None:
    """Say what is wrong with the labels of a classifier; None if nothing is."""
    if not 2 <= len(labels) <= MAX_LABELS:
        return f"it has {len(labels)} labels, expected 2 to {MAX_LABELS}"
    if len(set(labels)) < len(labels):
        return "labels are not all different"
    for label in labels:
        if not 1 <= len(label) <= MAX_LABEL_CHARS or not label.isprintable():
            told = ascii(label[:MAX_LABEL_CHARS])
            return f"label {told} is not 1 to {MAX_LABEL_CHARS} printable characters"
    return None


_classifiers: Final = Loaded(_open)


def classify(window: Window, params: Params) -> Labels:
    """Say what a frame shows, as a model of `streamproc train` sees it.

    The whole frame is judged as one picture, as the pictures of the training were: the model names one of its labels
    whatever the frame shows. Features do not add up over tiles, because the frame is resized first.

    Args:
        window: The whole frame, colour or grey.
        params: `model`, file that `streamproc train` wrote; `top`, how many labels are told.

    Returns:
        The best `top` labels with scores in 0..1 that sum to 1 over all labels; the event tells them under
        `classification`.

    Raises:
        BadPixels: Another shape or type, or the model failed.
        PipelineError: The file is no classifier.

    References:
        C. Cortes, V. Vapnik, Support-Vector Networks, Machine Learning 20, 1995. J. Platt, Probabilistic Outputs for
        Support Vector Machines, 1999.
    """
    classifier = load_classifier(str(params["model"]))
    (scores,) = classifier.scores([window.core_pixels])
    best = np.argsort(-scores, kind="stable")[: int(params["top"])]
    return Labels(scores=[(classifier.labels[index], float(scores[index])) for index in best])


def check_classifier(params: Params) -> None:
    """Refuse a model file that `classify` cannot run.

    Raises:
        PipelineError: Says why, and what to do.
    """
    load_classifier(Path(str(params["model"])))


ROWS: tuple[Operator, ...] = (
    Operator(
        name="classify",
        family="classifiers",
        kind="measure",
        run=classify,
        check=check_classifier,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(
                name="model", default="", file=True, required=True, meaning="ONNX file that streamproc train wrote"
            ),
            Parameter(name="top", default=5, low=1, high=MAX_LABELS, meaning="labels told"),
        ),
        needs=("onnxruntime", "recognition"),
        meaning="what a frame shows, by a trained classifier",
    ),
)
