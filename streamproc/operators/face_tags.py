"""Faces by name: found by a Haar cascade, and named after the most alike of given examples."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import PipelineError
from streamproc.model import Boxes, Pixels, Rect
from streamproc.operators.boxes import MAX_LABEL, pack_boxes, unpack_boxes
from streamproc.operators.embedding import embed_face
from streamproc.operators.files import PICTURE_ENDINGS, read_model, read_picture
from streamproc.operators.loaded import Loaded, PerThread
from streamproc.operators.onnx_models import opencv_quiet
from streamproc.operators.pixels import gray, require_pixels
from streamproc.operators.recognisers import SAME_OBJECT_IOU, faces, grouped_faces
from streamproc.operators.table import Operator, Parameter, Params, Window

MAX_EXAMPLES: Final = 1000
MAX_EXAMPLE_PIXELS: Final = 2**26
UNKNOWN: Final = "face"
THRESHOLD: Final = 0.65  # of 500 changed faces of 100 people all reach it with their own, 1 in 500 with another's
SFACE_THRESHOLD: Final = 0.363  # OpenCV's, for aligned faces
SFACE_SIDE_PX: Final = 112
MAX_DIMENSIONS: Final = 4096  # of a network's description of a face; SFace's has 128
_LEAST_FACE_PX: Final = 24
_LEAST_SHARE: Final = 6  # a face in an example's picture is at least a sixth of its shorter side
_MOST_GALLERIES: Final = 4

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One face whose name is known.

    Attributes:
        name: From its file's name.
        file: Name of the file.
        face: What is in its box, grey or BGR.
        found: The cascade found the face; else the whole picture is taken for it.
    """

    name: str
    file: str
    face: Pixels
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gallery:
    """Examples and what `embed_face` makes of them.

    Attributes:
        vectors: (N, FACE_DIMENSIONS) float32, by example.
    """

    examples: tuple[Example, ...]
    vectors: Vectors

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, in order."""
        return tuple(dict.fromkeys(example.name for example in self.examples))


def face_tag(window: Window, params: Params) -> Boxes:
    """Find frontal faces and say whose they are, by examples.

    Faces are those of `faces` with `on = "frame"`. Each is compared with every example, by local binary patterns and
    gradients, or by a network if `model` is given; it has the name of the most alike if that is alike enough.

    Without a model this knows the same face in nearly the same light and pose again: from film to film of one
    installed camera, or in changed copies of a picture. It does not know a person from any picture of them. Faces are
    not turned upright, so a model too does less well than with faces laid upright.

    Cost: 0.2 s for 640x384, nearly all of it to find faces: a larger `min_size_px` or `scale_factor`, or every n-th
    frame, costs less.

    Args:
        window: The whole frame, colour or grey.
        params: `examples`, a folder of pictures, each of one person, named after the person: what stands before the
            first "-" or "_" is the name (anna-1.jpg, anna-2.png); `threshold`, least cosine, 0 for the descriptor's
            own (0.65, with a model 0.363); `model`, an ONNX file of SFace's form; the others as for `faces`.

    Returns:
        Boxes labelled by name, or "face" where no example is alike enough. The score is the cosine with the most alike
        example, from -1 to 1. The event tells them under `objects`.

    Raises:
        BadPixels: Another shape or type.
        PipelineError: The examples or the model cannot be used.

    References:
        T. Ahonen, A. Hadid, M. Pietikainen, Face Description with Local Binary Patterns, IEEE TPAMI 28(12), 2006.
        Y. Zhong et al., SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition, IEEE TIP 2021.
    """
    require_pixels(window.pixels)
    gallery, model = gallery_of(str(params["examples"])), str(params["model"])
    corners = find_faces(window.core_pixels, params)
    crops = [window.core_pixels[top:bottom, left:right] for left, top, right, bottom in corners.tolist()]
    named = [name_face(crop, gallery, model=model, threshold=float(params["threshold"])) for crop in crops]
    score = np.array([alike for _, alike in named], np.float32)
    labels = [name for name, _ in named]
    return pack_boxes(UNKNOWN, corners.astype(np.float32), score, iou=SAME_OBJECT_IOU, labels=labels)


def find_faces(pixels: Pixels, params: Params) -> NDArray[np.intp]:
    """Boxes (N, 4) of whole pixels, inside the picture, of the faces of `faces`; the best first.

    Raises:
        BadPixels: Another shape or type.
    """
    light = gray(pixels)
    rows, cols = light.shape
    whole = Rect(0, 0, cols, rows)
    window = Window(pixels=light, rect=whole, core=whole, width=cols, height=rows)
    asked = {**params, "seam_size_px": 0}
    corners, _ = unpack_boxes(grouped_faces(faces(window, asked), asked))
    boxes = np.clip(np.rint(corners).astype(np.intp), 0, [cols, rows, cols, rows])
    found: NDArray[np.intp] = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    return found


def name_face(face: Pixels, gallery: Gallery, *, model: str = "", threshold: float = 0.0) -> tuple[str, float]:
    """The name of the most alike example, or UNKNOWN, and how alike it is.

    Args:
        face: What is in a face's box.
        gallery: Of `gallery_of`.
        model: File of a network; empty: `embed_face`.
        threshold: Least cosine that gives a name; 0: the descriptor's own.

    Raises:
        BadPixels: No picture.
        PipelineError: The model cannot be used.
    """
    alike = face_vectors(gallery, model) @ describe_face(face, model)
    best = int(alike.argmax())
    least = threshold or (SFACE_THRESHOLD if model else THRESHOLD)
    return gallery.examples[best].name if alike[best] >= least else UNKNOWN, float(alike[best])


def describe_face(face: Pixels, model: str = "") -> Vectors:
    """Vector of length 1 of what is in a face's box.

    Raises:
        BadPixels: No picture.
        PipelineError: The model cannot be used.
    """
    return _networks.get(model).describe(face) if model else embed_face(face)


def face_vectors(gallery: Gallery, model: str = "") -> Vectors:
    """Vectors of all examples, one row each.

    Raises:
        PipelineError: The model cannot be used.
    """
    return _networks.get(model).vectors(gallery) if model else gallery.vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Each example, left out once and named after the others.

    Attributes:
        said: Its name by the others, or UNKNOWN.
        own: How alike it is to the most alike other example of its name; None if there is no other.
        other: How alike it is to the most alike example of another name; None if there is none.
        count: Examples whose name has another example.
        accuracy: Share of them that are named right; None if there are none.
    """

    said: tuple[str, ...]
    own: tuple[float | None, ...]
    other: tuple[float | None, ...]
    count: int
    accuracy: float | None


def leave_one_out(gallery: Gallery, model: str = "", *, threshold: float) -> LeftOut:
    """Say how well the examples of a gallery name one another.

    Raises:
        PipelineError: The model cannot be used.
    """
    vectors = face_vectors(gallery, model)
    names = np.array([example.name for example in gallery.examples])
    said, own, other = [], [], []
    for at, name in enumerate(names):
        alike = vectors @ vectors[at]
        same, left = names == name, np.arange(len(names)) != at
        own.append(_most(alike[same & left]))
        other.append(_most(alike[~same]))
        best = max((value for value in (own[-1], other[-1]) if value is not None), default=-1.0)
        known = best >= threshold
        said.append(str(names[left][alike[left].argmax()]) if known else UNKNOWN)
    judged = [at for at, value in enumerate(own) if value is not None]
    right = sum(said[at] == names[at] for at in judged)
    return LeftOut(
        said=tuple(said),
        own=tuple(own),
        other=tuple(other),
        count=len(judged),
        accuracy=right / len(judged) if judged else None,
    )


def _most(values: Vectors) -> float | None:
    return float(values.max()) if values.size else None


def gallery_of(folder: str) -> Gallery:
    """The examples in a folder, read once for each process.

    Raises:
        PipelineError: No folder, no pictures, too many, or one that cannot be read or named.
    """
    return _galleries.get(folder)


def check_faces(params: Params) -> None:
    """Read the examples, and the model if there is one.

    Raises:
        PipelineError: They cannot be used.
    """
    gallery = gallery_of(str(params["examples"]))
    face_vectors(gallery, str(params["model"]))


def name_of(file: str) -> str:
    """The name in a file's name: what stands before the first "-" or "_", without the ending."""
    stem = Path(file).stem.replace("_", "-")
    name = " ".join(stem.partition("-")[0].split())
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:MAX_LABEL]


def _read(folder: Path) -> Gallery:
    if not folder.is_dir():
        raise PipelineError(f"{folder}: is no folder of pictures of faces")
    files = [one for one in sorted(folder.iterdir()) if one.suffix.lower() in PICTURE_ENDINGS and one.name[0] != "."]
    if not 1 <= len(files) <= MAX_EXAMPLES:
        raise PipelineError(
            f"{folder}: 1 to {MAX_EXAMPLES} pictures ({', '.join(PICTURE_ENDINGS)}) are wanted, it has {len(files)};"
            " they are named after the person: anna-1.jpg"
        )
    examples = tuple(map(_example, files))
    return Gallery(examples=examples, vectors=np.array([embed_face(one.face) for one in examples], np.float32))


def _example(file: Path) -> Example:
    pixels = read_picture(file, color=True)
    name = name_of(file.name)
    if not name or name == UNKNOWN:
        raise PipelineError(f"{file}: gives no name: call it as the person is called, such as anna-1{file.suffix}")
    if pixels.size > 3 * MAX_EXAMPLE_PIXELS:
        raise PipelineError(f"{file}: has more than {MAX_EXAMPLE_PIXELS} pixels: make it smaller")
    face = _surest_face(pixels)
    return Example(name=name, file=file.name, face=pixels if face is None else face, found=face is not None)


def _surest_face(pixels: Pixels) -> Pixels | None:
    least = max(_LEAST_FACE_PX, min(pixels.shape[:2]) // _LEAST_SHARE)
    found = find_faces(pixels, {**_FACE_DEFAULTS, "min_size_px": least})
    if not len(found):
        return None
    left, top, right, bottom = found[0].tolist()  # a larger one with fewer hits is a fold or a helmet
    return np.ascontiguousarray(pixels[top:bottom, left:right])


class _Network:
    """A face network of SFace's form; keeps scratch space, so each thread has its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = np.frombuffer(read_model(path), np.uint8)
        self._galleries: OrderedDict[int, tuple[Gallery, Vectors]] = OrderedDict()
        try:
            with opencv_quiet():
                self._network = cv2.FaceRecognizerSF.create("onnx", content, np.zeros(0, np.uint8))
                tried = self._network.feature(np.full((SFACE_SIDE_PX, SFACE_SIDE_PX, 3), 127, np.uint8))
        except cv2.error as error:
            side = SFACE_SIDE_PX
            raise PipelineError(
                f"{path}: OpenCV {cv2.__version__} cannot describe faces of {side}x{side} pixels with it: it is damaged"
                " or no face network of SFace's form; give face_recognition_sface_2021dec.onnx of OpenCV's model zoo"
            ) from error
        if tried.ndim != 2 or tried.shape[0] != 1 or tried.shape[1] > MAX_DIMENSIONS:
            shape = list(tried.shape)
            raise PipelineError(
                f"{path}: gives {shape} for a face, not [1, up to {MAX_DIMENSIONS}]; give a network of SFace's form"
            )
        if not np.isfinite(tried).all():
            raise PipelineError(f"{path}: gives numbers that are none: it is damaged; copy or download it again")

    def describe(self, face: Pixels) -> Vectors:
        """Vector of length 1."""
        require_pixels(face)
        colour = cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) if face.ndim == 2 else face
        how = cv2.INTER_AREA if max(face.shape[:2]) > SFACE_SIDE_PX else cv2.INTER_LINEAR
        square = cv2.resize(colour, (SFACE_SIDE_PX, SFACE_SIDE_PX), interpolation=how)
        vector = np.asarray(self._network.feature(square), np.float32).reshape(-1).copy()
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length):
            raise PipelineError(f"{self._path}: the model gives numbers that are none: it is damaged")
        return vector / max(length, 1e-12)

    def vectors(self, gallery: Gallery) -> Vectors:
        """Vectors of a gallery's examples, made once for the galleries used last."""
        known = self._galleries.get(id(gallery))  # the gallery is held below, so that no other has its id
        if known is None:
            known = (gallery, _stacked([self.describe(example.face) for example in gallery.examples]))
            self._galleries[id(gallery)] = known
        self._galleries.move_to_end(id(gallery))
        while len(self._galleries) > _MOST_GALLERIES:
            self._galleries.popitem(last=False)
        return known[1]


def _stacked(vectors: Sequence[Vectors]) -> Vectors:
    return np.array(vectors, np.float32)


_FACES: Final = (
    Parameter(name="scale_factor", default=1.1, low=1.01, high=3, meaning="between sizes looked for"),
    Parameter(name="min_neighbors", default=5, low=0, high=100, meaning="more hits make one; 0: tell each hit"),
    Parameter(name="min_size_px", default=48, low=20, high=4096, below="max_size_px", meaning="smallest"),
    Parameter(name="max_size_px", default=0, low=0, high=8192, zero_is_no_limit=True, meaning="largest; 0: no limit"),
)
_FACE_DEFAULTS: Final[Params] = {one.name: one.default for one in _FACES}
_galleries: Final = Loaded(_read)
_networks: Final = PerThread(_Network)

ROWS: tuple[Operator, ...] = (
    Operator(
        name="face_tag",
        family="detectors",
        kind="measure",
        run=face_tag,
        accepts=("color", "gray"),
        gives="boxes",
        scope="frame",
        parameters=(
            Parameter(
                name="examples",
                default="",
                file=True,
                required=True,
                meaning="folder of pictures of faces, anna-1.jpg and so on",
            ),
            Parameter(name="threshold", default=0.0, low=0, high=1, meaning="least cosine; 0: the descriptor's own"),
            Parameter(name="model", default="", file=True, meaning="ONNX file of a face network; none: no network"),
            *_FACES,
        ),
        check=check_faces,
        meaning="faces by name, after examples",
    ),
)
