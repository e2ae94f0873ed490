"""Models in ONNX files that look at pictures, run by onnxruntime: what they take, and what they say.

onnxruntime rather than cv2.dnn: it runs the whole operator set and dynamic shapes, one session serves all threads, and
it is there already for classifiers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Pixels
from streamproc.operators.files import read_model
from streamproc.operators.loaded import Loaded

PAD: Final = 114  # grey around a letterboxed picture, as YOLO models were trained with
MAX_SIDE_PX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A loaded model that takes one picture.

    Attributes:
        session: onnxruntime's; may be run by several threads.
        takes: Name of its input, (1, 3 or 1, rows, cols) float32.
        channels: 3 or 1.
        width, height: Of its input; 0 where the model takes any.
        gives: Names of its outputs.
    """

    name: str
    session: Any
    takes: str
    channels: int
    width: int
    height: int
    gives: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """How a picture lies in a model's input: enlarged `scale` times, then moved by (x, y)."""

    scale: float
    x: int
    y: int
    width: int
    height: int

    def back(self, xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (N, 4) in the model's input as boxes in the picture."""
        return (xyxy - (self.x, self.y) * 2) / self.scale


def open_model(name: str) -> Model:
    """Give the model of a file, loaded once for each process.

    Raises:
        PipelineError: It is no ONNX file, onnxruntime is not installed, or it does not take one picture.
    """
    return _models.get(name)


def open_session(path: Path, content: bytes) -> Any:
    """A session of onnxruntime for the content of a file.

    Raises:
        PipelineError: onnxruntime is not installed, or cannot run the network.
    """
    try:
        import onnxruntime
    except ImportError:
        raise PipelineError(f"{path}: needs onnxruntime: pip install 'streamproc[recognition]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # tiles and frames run side by side already
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime raises a class of its own for each way in which a file is wrong
        raise PipelineError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot run this network: it is damaged, made for a newer"
            " version, or keeps its weights in another file; export it again as one file"
        ) from error


@contextmanager
def opencv_quiet() -> Iterator[None]:
    """Keep OpenCV from printing why a model does not load; the exception that is raised says so."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _open(path: Path) -> Model:
    session = open_session(path, read_model(path))
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise PipelineError(f"{path}: the model takes {len(inputs)} inputs, a detector takes one picture")
    shape = [size if isinstance(size, int) else 0 for size in inputs[0].shape]
    if inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[0] not in (0, 1) or shape[1] not in (1, 3):
        told = f"{inputs[0].type} {inputs[0].shape}"
        raise PipelineError(f"{path}: the model takes {told}, a detector takes tensor(float) [1, 3 or 1, rows, cols]")
    if max(shape[2:]) > MAX_SIDE_PX:
        raise PipelineError(f"{path}: the model takes pictures of {shape[3]}x{shape[2]}, at most {MAX_SIDE_PX} will do")
    gives = tuple(output.name for output in session.get_outputs())
    return Model(
        name=str(path),
        session=session,
        takes=inputs[0].name,
        channels=shape[1],
        width=shape[3],
        height=shape[2],
        gives=gives,
    )


_models: Final = Loaded(_open)


def input_size(model: Model, size: int) -> tuple[int, int]:
    """Width and height of what a model is given.

    Raises:
        PipelineError: The model takes any size and none is named, or takes another.
    """
    for fixed in (model.width, model.height):
        if size and fixed and size != fixed:
            raise PipelineError(f"{model.name}: the model takes {model.width}x{model.height}, size is {size}")
    width, height = model.width or size, model.height or size
    if not width or not height:
        raise PipelineError(f"{model.name}: the model takes pictures of any size, name one: size = 640")
    return width, height


def letterbox(width: int, height: int, into: tuple[int, int]) -> Letterbox:
    """Fit a picture of `width` x `height` into (width, height) as large as it goes, in the middle."""
    scale = min(into[0] / width, into[1] / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    return Letterbox(scale=scale, x=(into[0] - wide) // 2, y=(into[1] - high) // 2, width=wide, height=high)


def run_model(
    model: Model, pixels: Pixels, fit: Letterbox, into: tuple[int, int], *, unit: bool, rgb: bool
) -> list[NDArray[np.float32]]:
    """Outputs of a model for one picture.

    Args:
        model: Of `open_model`.
        pixels: (rows, cols) or (rows, cols, 3) BGR, uint8.
        fit: Of `letterbox`.
        into: Width and height of the input.
        unit: Values are given as 0 to 1 rather than 0 to 255.
        rgb: Red is the first channel.

    Raises:
        BadPixels: The model failed on the picture, or gave something else than numbers.
    """
    how = cv2.INTER_AREA if fit.scale < 1 else cv2.INTER_LINEAR
    small = pixels if fit.scale == 1 else cv2.resize(pixels, (fit.width, fit.height), interpolation=how)
    if model.channels == 1 and small.ndim == 3:
        small = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    sheet = np.full((into[1], into[0], model.channels), PAD, np.float32)
    colours = small[:, :, None] if small.ndim == 2 else small[:, :, ::-1] if rgb else small
    sheet[fit.y : fit.y + fit.height, fit.x : fit.x + fit.width] = colours
    if unit:
        sheet /= np.float32(255)
    given = np.ascontiguousarray(sheet.transpose(2, 0, 1)[None])
    try:
        outputs = model.session.run(None, {model.takes: given})
    except Exception as error:
        # onnxruntime raises a class of its own for each way in which a model can fail
        raise BadPixels(
            f"{model.name} failed on {into[0]}x{into[1]} pixels: it is made for another size, or damaged"
        ) from error
    if not all(isinstance(output, np.ndarray) and output.dtype.kind in "fiu" for output in outputs):
        raise BadPixels(f"{model.name} gave something else than arrays of numbers")
    return [np.asarray(output, np.float32) for output in outputs]
