"""Frames that suit the operators' pages: photographs that scikit-image ships, scenes painted here, and files."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import skimage.data

from streamproc.model import Pixels
from streamproc.operators.pixels import gray

WIDTH, HEIGHT = 400, 300
FPS: Final = 10
SHADE: Final = (60, 60, 60)
Frames: TypeAlias = Callable[[], list[Pixels]]


@cache
def photograph(name: str, left: float = 0.0, top: float = 0.0, share: float = 1.0) -> Pixels:
    """A photograph of scikit-image as a frame of WIDTH x HEIGHT, BGR or grey.

    Args:
        name: Function of `skimage.data`.
        left, top: Where the part that is kept begins, as shares of what may be left out.
        share: Of the photograph's width that is kept.
    """
    picture = np.ascontiguousarray(getattr(skimage.data, name)()[..., ::-1] if name in COLOURED else _grey(name))
    rows, cols = picture.shape[:2]
    width = int(min(cols, rows * WIDTH / HEIGHT) * share)
    height = width * HEIGHT // WIDTH
    x, y = int((cols - width) * left), int((rows - height) * top)
    part = picture[y : y + height, x : x + width]
    way = cv2.INTER_AREA if width > WIDTH else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (WIDTH, HEIGHT), interpolation=way), np.uint8)


COLOURED: Final = frozenset({"astronaut", "coffee", "chelsea", "rocket", "retina", "hubble_deep_field"})


def _grey(name: str) -> Pixels:
    picture = getattr(skimage.data, name)()
    return np.asarray(picture * 255 if picture.dtype == np.bool_ else picture, np.uint8)


def of(name: str, **part: float) -> Frames:
    return lambda: [photograph(name, **part)]


# --- frames that are made ------------------------------------------------------------------------------------


def dim() -> list[Pixels]:
    """A photograph that is too dark and too flat."""
    return [np.asarray(photograph("chelsea") * 0.35 + 30, np.uint8)]


def noisy(sigma: float = 20.0) -> Frames:
    def frames() -> list[Pixels]:
        clean = photograph("chelsea", left=0.4, top=0.3, share=0.6)
        noise = np.random.default_rng(1).normal(0, sigma, clean.shape)
        return [np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)]

    return frames


def specked(dark: float, bright: float) -> Frames:
    """A photograph with shares of dark and bright specks."""

    def frames() -> list[Pixels]:
        picture = photograph("camera").copy()
        chance = np.random.default_rng(2).random(picture.shape)
        picture[chance < dark] = 0
        picture[chance > 1 - bright] = 255
        return [picture]

    return frames


def blurred() -> list[Pixels]:
    return [np.asarray(cv2.GaussianBlur(photograph("coffee"), (0, 0), 2.0), np.uint8)]


def written_over() -> list[Pixels]:
    picture = np.minimum(photograph("astronaut", top=0.1), 240)
    cv2.putText(picture, "2026-01-01 12:00:00", (12, 285), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    return [picture]


def small() -> list[Pixels]:
    picture = photograph("astronaut", left=0.4, top=0.05, share=0.5)
    return [np.asarray(cv2.resize(picture, (200, 150), interpolation=cv2.INTER_AREA), np.uint8)]


def smiling() -> list[Pixels]:
    """Two drawn faces on dark ground."""
    picture = _coloured(photograph("gravel") // 4)
    for x, y in ((110, 110), (290, 190)):
        cv2.circle(picture, (x, y), 46, (120, 225, 255), -1, cv2.LINE_AA)
        for side in (-1, 1):
            cv2.circle(picture, (x + 16 * side, y - 14), 5, SHADE, -1, cv2.LINE_AA)
        cv2.ellipse(picture, (x, y + 4), (24, 22), 0, 20, 160, SHADE, 4, cv2.LINE_AA)
    return [picture]


def touching() -> list[Pixels]:
    """Dark discs that touch."""
    picture = photograph("brick") // 3 + 130
    for x, y, radius in ((130, 110, 62), (215, 165, 56), (140, 220, 52), (320, 110, 44)):
        cv2.circle(picture, (x, y), radius, 40, -1, cv2.LINE_AA)
    return [np.asarray(picture, np.uint8)]


def with_codes() -> list[Pixels]:
    picture = photograph("coffee").copy()
    for text, x, y in (("streamproc", 30, 30), ("tile 7", 250, 150)):
        code = cv2.resize(cv2.QRCodeEncoder.create().encode(text), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        code = cv2.copyMakeBorder(code, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=255)
        picture[y : y + code.shape[0], x : x + code.shape[1]] = code[:, :, None]
    return [picture]


def squares() -> list[Pixels]:
    """Coloured squares on a dark photograph."""
    picture = _coloured(photograph("gravel") // 4)
    for colour, x, y in (
        ((0, 0, 250), 60, 60),
        ((0, 250, 0), 250, 90),
        ((250, 0, 0), 150, 200),
        ((0, 0, 250), 320, 230),
    ):
        picture[y : y + 40, x : x + 40] = colour
    return [picture]


def circles() -> list[Pixels]:
    picture = photograph("brick") // 3 + 130
    for x, y, radius, level in ((90, 90, 48, 20), (250, 80, 30, 245), (200, 210, 62, 40), (340, 200, 38, 10)):
        cv2.circle(picture, (x, y), radius, level, -1, cv2.LINE_AA)
    return [np.asarray(cv2.GaussianBlur(picture, (5, 5), 0), np.uint8)]


def shifted() -> list[Pixels]:
    """Two frames of a camera that has moved a little."""
    whole = np.asarray(cv2.resize(photograph("chelsea"), (WIDTH + 16, HEIGHT + 12)), np.uint8)
    return [whole[dy : dy + HEIGHT, dx : dx + WIDTH].copy() for dx, dy in ((9, 5), (3, 2))]


def driving() -> list[Pixels]:
    """Two discs that go their ways over gravel; the first frames show the place alone."""
    frames = []
    ground = _coloured(photograph("gravel") // 3 + 80)
    for number in range(80):
        frame = ground.copy()
        if number >= 40:
            step = number - 40
            cv2.circle(frame, (30 + 8 * step, 215), 22, (40, 60, 230), -1, cv2.LINE_AA)
            cv2.circle(frame, (355 - 6 * step, 90), 18, (230, 150, 30), -1, cv2.LINE_AA)
        frames.append(frame)
    return frames


def before_and_after() -> list[Pixels]:
    """Two frames of `driving`, 0.4 s apart."""
    frames = driving()
    return [frames[58], frames[62]]


def standing() -> list[Pixels]:
    """Three outlines of people before a wall."""
    picture = _coloured(photograph("brick") // 3 + 120)
    for x, tall in ((80, 150), (200, 190), (320, 130)):
        part = tall / 16
        at = [(round(x + dx * part), round(270 - dy * part)) for dx, dy in ((0, 14.8), (0, 10.3))]
        cv2.circle(picture, at[0], round(1.15 * part), SHADE, -1, cv2.LINE_AA)
        cv2.ellipse(picture, at[1], (round(2.6 * part), round(3.25 * part)), 0, 0, 360, SHADE, -1, cv2.LINE_AA)
        for side in (-1, 1):
            hip, foot = ((round(x + side * dx * part), round(270 - dy * part)) for dx, dy in ((0.9, 8.0), (1.3, 0.4)))
            cv2.line(picture, hip, foot, SHADE, round(1.7 * part), cv2.LINE_AA)
    return [np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)]


def _coloured(picture: Pixels) -> Pixels:
    return np.ascontiguousarray(picture[:, :, None].repeat(3, axis=2))


def tilted() -> list[Pixels]:
    """Eight seconds of a camera with a little noise; after five it hangs turned by 14 degrees."""
    view, random = photograph("rocket"), np.random.default_rng(4)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 14, 1)
    turned = np.asarray(cv2.warpAffine(view, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT), np.uint8)
    return [
        np.clip((view if number < 5 * FPS else turned) + random.normal(0, 2, view.shape), 0, 255).astype(np.uint8)
        for number in range(8 * FPS)
    ]


# --- files that a pipeline names ------------------------------------------------------------------------------


def write_files(folder: Path) -> None:
    """Write what the pipelines name: a template, a small detector, a classifier, and a network of YuNet's form."""
    from streamproc.train.examples import load_examples
    from streamproc.train.fitting import fitted, onnx_model
    from tests.operators.test_onnx_detector import squares_model

    (folder / "templates").mkdir()
    coin = gray(photograph("coins"))[104:150, 19:65]
    (folder / "templates" / "coin.png").write_bytes(cv2.imencode(".png", coin)[1].tobytes())
    (folder / "people").mkdir()
    (folder / "people" / "Eileen-1.png").write_bytes(
        cv2.imencode(".png", photograph("astronaut", top=0.1))[1].tobytes()
    )
    (folder / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    squares_model(folder / "squares.onnx", "yolov8")
    examples = load_examples("lfw", lambda *_: None)
    model = fitted("softmax", examples.features, examples.truth, 0)
    (folder / "faces.onnx").write_bytes(onnx_model(model, "softmax", examples.labels))
    bright_faces(folder / "face_detection_yunet_2023mar.onnx")


def bright_faces(path: Path) -> Path:
    """A network of YuNet's form: a face of 96 pixels wherever 64 x 64 pixels are bright."""
    from onnx.helper import make_node

    from tests.operators.test_onnx_detector import constant, stored

    nodes: list[Any] = []
    weights = [constant(f"rows_{size}", np.array([1, -1, size], np.int64)) for size in (1, 4, 10)]
    outputs: dict[str, list[Any]] = {}
    for kind, biases in (("cls", [0.0]), ("obj", [0.0]), ("bbox", [0.5, 0.5, *[math.log(3)] * 2]), ("kps", [0.0] * 10)):
        for stride in (8, 16, 32):
            name, size = f"{kind}_{stride}", len(biases)
            side = 64 if size == 1 and stride == 32 else 1
            kernel = np.full((size, 3, side, side), (1 / (255 * 3 * side**2)) if side > 1 else 0.0, np.float32)
            weights += [constant(f"kernel_{name}", kernel), constant(f"bias_{name}", np.array(biases, np.float32))]
            pads = [(side - 32) // 2 if side > 1 else 0] * 4
            taken = ["picture", f"kernel_{name}", f"bias_{name}"]
            nodes += [
                make_node("Conv", taken, [f"map_{name}"], strides=[stride] * 2, pads=pads, kernel_shape=[side] * 2),
                make_node("Transpose", [f"map_{name}"], [f"last_{name}"], perm=[0, 2, 3, 1]),
                make_node("Reshape", [f"last_{name}", f"rows_{size}"], [name]),
            ]
            outputs[name] = [1, (320 // stride) ** 2, size]
    return stored(path, nodes, [1, 3, 320, 320], outputs, weights)
