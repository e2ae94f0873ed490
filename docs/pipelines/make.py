"""Makes what the pipelines of this folder are shown on, from data that scikit-learn and scikit-image bring.

    python docs/pipelines/make.py digits docs/pipelines/digits      sheets of digits to read
    python docs/pipelines/make.py training FOLDER                   what digits.onnx is trained on
    python docs/pipelines/make.py faces docs/pipelines/faces        the face that faces.toml knows
    python docs/pipelines/make.py people FOLDER                     a film of people who walk past
    python docs/pipelines/make.py camera FOLDER                     a film of a camera that fails in three ways

Needs `streamproc[demo,recognition]`. The same command makes the same pictures again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Picture = NDArray[np.uint8]

FPS: Final = 25

# --- digits -----------------------------------------------------------------------------------------------

CELL_PX: Final = 64
DIGIT_PX: Final = 48
ROWS, COLS = 4, 6
SHEETS: Final = 4
EMPTY: Final = 5  # every so many cells, one is left empty
TRAINED: Final = 1347  # of 1797; the sheets are drawn from the others
PATCHES: Final = 400
NONE: Final = "none"


def digits() -> Iterator[tuple[str, Picture]]:
    """Sheets of digits that `digits.onnx` was not trained on: file name and picture, (256, 384), dark ink on paper."""
    for number, (_, sheet) in enumerate(sheets(), start=1):
        yield f"sheet-{number}.png", sheet


def sheets() -> Iterator[tuple[list[str], Picture]]:
    """Each sheet with what stands in its cells, row by row; an empty cell is ""."""
    found, random = load_digits(), np.random.default_rng(11)
    at = TRAINED
    for _ in range(SHEETS):
        told: list[str] = []
        drawn: list[Picture] = []
        for index in range(ROWS * COLS):
            if index % EMPTY == EMPTY - 1:
                told.append("")
                drawn.append(_paper(random))
                continue
            told.append(str(found.target[at]))
            drawn.append(cell(found.images[at], random))
            at += 1
        rows = [np.hstack(drawn[row * COLS : (row + 1) * COLS]) for row in range(ROWS)]
        yield told, np.vstack(rows)


def training() -> Iterator[tuple[str, Picture]]:
    """The first 1347 digits in cells as on a sheet, and cells without a digit: a folder for each label."""
    found, random = load_digits(), np.random.default_rng(5)
    for index in range(TRAINED):
        yield f"{found.target[index]}/{index:04d}.png", cell(found.images[index], random)
    photographs = [_photograph(name) for name in ("coffee", "chelsea", "rocket", "astronaut", "brick", "coins")]
    for index in range(PATCHES):
        picture = _paper(random)
        if index % 8:
            whole, side = photographs[index % len(photographs)], int(random.integers(40, 160))
            top, left = (int(random.integers(0, size - side)) for size in whole.shape)
            picture = _scaled(whole[top : top + side, left : left + side], CELL_PX, CELL_PX)
        yield f"{NONE}/{index:04d}.png", picture


def cell(image: NDArray[Any], random: np.random.Generator) -> Picture:
    """One of scikit-learn's digits (8, 8), 0 to 16, in ink on paper, not quite in the middle."""
    ink = cv2.resize(np.asarray(image, np.float32) / 16, (DIGIT_PX, DIGIT_PX), interpolation=cv2.INTER_CUBIC)
    cell = _paper(random)
    top, left = random.integers(4, CELL_PX - DIGIT_PX - 3, 2).tolist()
    part = cell[top : top + DIGIT_PX, left : left + DIGIT_PX]
    part[:] = np.rint(part * (1 - 0.85 * np.clip(ink, 0, 1))).astype(np.uint8) // 8 * 8
    return cell


def _paper(random: np.random.Generator) -> Picture:
    return np.full((CELL_PX, CELL_PX), 224 + 8 * int(random.integers(0, 3)), np.uint8)


# --- faces ------------------------------------------------------------------------------------------------


def faces() -> Iterator[tuple[str, Picture]]:
    """Eileen Collins, NASA's portrait, public domain, (160, 160): the file's name up to the dash is the tag."""
    portrait = np.asarray(skimage.data.astronaut())[:, :, ::-1]  # type: ignore[no-untyped-call]
    yield "astronaut-1.jpg", _scaled(portrait[40:240, 124:324], 160, 160)


# --- people -----------------------------------------------------------------------------------------------

PEOPLE_FRAMES: Final = 300
LINE_X: Final = 320  # of the line in people-counting.toml
WALKERS: Final = (  # height, feet y, x in frame 0, pixels a frame: three to the right, two to the left
    (170, 330, -40, 3.2),
    (150, 290, 690, -4.0),
    (180, 345, -224, 3.2),
    (160, 310, 1094, -3.6),
    (150, 300, -740, 4.0),
)


def people() -> Iterator[tuple[str, Picture]]:
    """Twelve seconds of outlines of people who walk past a wall, (360, 640): three to the right, two to the left."""
    wall = cv2.cvtColor(_scaled(_photograph("brick"), 640, 360) // 4 + 150, cv2.COLOR_GRAY2BGR)
    for number in range(PEOPLE_FRAMES):
        frame = np.asarray(wall, np.uint8).copy()
        for height, feet, start, speed in sorted(WALKERS, key=lambda walker: walker[1]):
            _walker(frame, start + speed * number, feet, height, np.sin(number / 3.5))
        yield f"frame-{number:03d}.jpg", np.asarray(cv2.GaussianBlur(frame, (3, 3), 0), np.uint8)


def _walker(frame: Picture, x: float, feet: int, height: int, stride: float) -> None:
    part, ink = height / 16, (40, 42, 48)

    def at(dx: float, dy: float) -> tuple[int, int]:
        return round(x + dx * part), round(feet - dy * part)

    cv2.circle(frame, at(0, 14.8), round(1.15 * part), ink, -1, cv2.LINE_AA)
    cv2.ellipse(frame, at(0, 10.3), (round(2.6 * part), round(3.25 * part)), 0, 0, 360, ink, -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.line(frame, at(0.9 * side, 8), at((1.1 + 0.5 * stride) * side, 0.4), ink, round(1.7 * part), cv2.LINE_AA)


# --- camera -----------------------------------------------------------------------------------------------

CAMERA_FRAMES: Final = 450
FAULTS: Final = {"black": (100, 150), "frozen": (225, 285), "blurred": (360, 410)}  # first frame, first one after it


def camera() -> Iterator[tuple[str, Picture]]:
    """Eighteen seconds of a camera with a little noise, (288, 384): it goes black, then freezes, then blurs."""
    random = np.random.default_rng(3)
    view, noise = _photograph("coffee"), [random.normal(0, 1.5, (288, 384)) for _ in range(11)]
    view = _scaled(view, 384, 288)
    last = view
    for number in range(CAMERA_FRAMES):
        fault = next((name for name, (begin, end) in FAULTS.items() if begin <= number < end), "")
        seen = view.copy()
        cv2.circle(seen, (40 + 3 * number % 500, 240), 24, 30, -1, cv2.LINE_AA)  # somebody passes
        if fault == "black":
            seen = seen // 40
        if fault == "blurred":
            seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), 3), np.uint8)
        if fault != "frozen":
            last = np.clip(np.rint(seen + noise[number % len(noise)]), 0, 255).astype(np.uint8)
        yield f"frame-{number:03d}.jpg", last


# --- files ------------------------------------------------------------------------------------------------


def _photograph(name: str) -> Picture:
    """One of scikit-image's photographs, grey."""
    picture = np.asarray(getattr(skimage.data, name)(), np.uint8)
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _scaled(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


MAKERS: Final[dict[str, Callable[[], Iterator[tuple[str, Picture]]]]] = {
    "digits": digits,
    "training": training,
    "faces": faces,
    "people": people,
    "camera": camera,
}


def write(pictures: Iterator[tuple[str, Picture]], folder: Path) -> int:
    """Write the pictures below a folder; returns how many there are."""
    written = 0
    for name, picture in pictures:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
        path.write_bytes(cv2.imencode(path.suffix, picture, quality)[1].tobytes())
        written += 1
    return written


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MAKERS:
        sys.exit(f"usage: python {sys.argv[0]} {{{','.join(MAKERS)}}} FOLDER")
    sys.stdout.write(f"{write(MAKERS[sys.argv[1]](), Path(sys.argv[2]))} pictures in {sys.argv[2]}\n")
