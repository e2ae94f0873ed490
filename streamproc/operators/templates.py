"""Places that look like a given picture: template matching, at several sizes and angles."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import PipelineError
from streamproc.model import Boxes, Pixels
from streamproc.operators.boxes import EVERY_BOX, MAX_LABEL, box_labels, pack_boxes, suppress, unpack_boxes
from streamproc.operators.files import PICTURE_ENDINGS, read_picture
from streamproc.operators.loaded import Loaded
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

METHODS: Final = ("TM_CCOEFF_NORMED", "TM_CCORR_NORMED", "TM_SQDIFF_NORMED")
MAX_TEMPLATES: Final = 64
MAX_VARIANTS: Final = 1024  # templates, sizes and angles together
MAX_SIDE_PX: Final = 1024
MAX_PEAKS: Final = 2000  # of one template at one size and angle in one tile
_BEFORE: Final = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)  # of equal neighbours the first is the peak


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """A picture to look for.

    Attributes:
        mask: 1 where a pixel counts, 0 in the corners that a rotation leaves empty; None: all count.
    """

    name: str
    pixels: Pixels
    mask: Pixels | None = None


def template_match(window: Window, params: Params) -> Boxes:
    """Find the places that look like one of some given pictures.

    A place counts if it scores higher than the eight beside it. Scores are those of `cv2.matchTemplate`, from exact
    sums of whole numbers, so that they do not depend on how the frame is cut. Of places that overlap the best stays.

    Args:
        window: Grey.
        params: `templates`, a picture file or a folder of them, colour is turned grey; `method`; `threshold`, least
            score; `scale_low` to `scale_high` in `scale_steps` sizes; `angle_low` to `angle_high` in `angle_steps`
            angles, degrees, counter-clockwise; `iou`.

    Returns:
        Every place of the core; `best_matches` chooses. Boxes labelled by the file's name without its ending; the
        score is the method's, at most 1, of TM_SQDIFF_NORMED 1 less its value. At most 2000
        places of a template in a tile are told, the best. The cost grows with templates times sizes times angles.

    Raises:
        BadPixels: Not (rows, cols) uint8.
        PipelineError: A template cannot be read or is too large.

    References:
        J. P. Lewis, Fast Normalized Cross-Correlation, Vision Interface 1995.
    """
    require_gray(window.pixels)
    found = [np.zeros((0, 5))]
    labels: list[str] = []
    window = window.cropped(template_halo(params))
    seen = _Seen(window.pixels)
    for template in variants(params):
        rows, cols = template.pixels.shape
        if window.pixels.shape[0] < rows or window.pixels.shape[1] < cols:
            continue
        x, y, score = _peaks(window, seen, template, params).T
        left, top = x + window.rect.x, y + window.rect.y
        found.append(np.column_stack([left, top, left + cols, top + rows, score]))
        labels += [template.name] * len(score)
    boxes = np.concatenate(found)
    return pack_boxes("template", boxes[:, :4], boxes[:, 4], iou=EVERY_BOX, labels=labels)


def best_matches(places: Boxes, params: Params) -> Boxes:
    """Of places of one template that overlap keep the best."""
    corners, scores = unpack_boxes(places)
    labels = box_labels(places) if scores.size else []
    return suppress(pack_boxes(places.label, corners, scores, iou=float(params["iou"]), labels=labels))


def check_templates(params: Params) -> None:
    """Read the templates at each size and angle.

    Raises:
        PipelineError: One cannot be read, or is too large or too small at one of the sizes.
    """
    variants(params)


def template_halo(params: Params) -> int:
    """Half of the largest template, at its largest size and angle, and the places beside."""
    return max((_half(max(template.pixels.shape)) + 1 for template in variants(params)), default=0)


def variants(params: Params) -> list[Template]:
    """Every template at every size and angle; none if no file is named.

    Raises:
        PipelineError: A template cannot be read, or is too large or too small at one of the sizes.
    """
    name = str(params["templates"])
    if not name:
        return []
    scales = _steps(params, "scale")
    angles = _steps(params, "angle")
    templates = _templates.get(name)
    if len(templates) * len(scales) * len(angles) > MAX_VARIANTS:
        raise PipelineError(
            f"{name}: {len(templates)} templates at {len(scales)} sizes and {len(angles)} angles"
            f" are more than {MAX_VARIANTS}"
        )
    return [_turned(one, scale, angle) for one, scale, angle in itertools.product(templates, scales, angles)]


def _steps(params: Params, what: str) -> list[float]:
    low, high, steps = (params[f"{what}_{part}"] for part in ("low", "high", "steps"))
    return [float(value) for value in np.linspace(float(low), float(high), int(steps))]


def _half(side: int) -> int:
    return side - side // 2


def _read(path: Path) -> tuple[Template, ...]:
    """Templates of a file or of a folder's pictures, by name."""
    files = [path]
    if path.is_dir():
        files = [one for one in sorted(path.iterdir()) if one.suffix.lower() in PICTURE_ENDINGS]
        if not 1 <= len(files) <= MAX_TEMPLATES:
            raise PipelineError(
                f"{path}: 1 to {MAX_TEMPLATES} pictures ({', '.join(PICTURE_ENDINGS)}) are wanted, it has {len(files)}"
            )
    return tuple(_template(file) for file in files)


def _template(file: Path) -> Template:
    picture = read_picture(file, color=False)
    if max(picture.shape) > MAX_SIDE_PX:
        raise PipelineError(
            f"{file}: a template has at most {MAX_SIDE_PX} pixels a side, this has {max(picture.shape)}"
        )
    if picture.min() == picture.max():
        raise PipelineError(f"{file}: all its pixels are the same, it would match anything; crop it wider")
    return Template(name="".join(c if c.isprintable() else "?" for c in file.stem)[:MAX_LABEL], pixels=picture)


_templates: Final = Loaded(_read)


def _turned(template: Template, scale: float, angle: float) -> Template:
    """The template enlarged `scale` times, then turned by `angle` degrees."""
    rows, cols = (max(1, round(side * scale)) for side in template.pixels.shape)
    if min(rows, cols) < 4 or max(rows, cols) > MAX_SIDE_PX:
        raise PipelineError(f"template {template.name}: {cols}x{rows} pixels at {scale:g}, 4 to {MAX_SIDE_PX} will do")
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = (
        template.pixels
        if scale == 1
        else np.asarray(cv2.resize(template.pixels, (cols, rows), interpolation=how), np.uint8)
    )
    if angle % 90 == 0:
        return Template(name=template.name, pixels=np.ascontiguousarray(np.rot90(pixels, int(angle // 90))))
    turn = cv2.getRotationMatrix2D(((cols - 1) / 2, (rows - 1) / 2), angle, 1.0)
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = math.ceil(cols * cos + rows * sin), math.ceil(cols * sin + rows * cos)
    turn[:, 2] += ((width - cols) / 2, (height - rows) / 2)
    turned = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    whole = cv2.warpAffine(np.full_like(pixels, 255), turn, (width, height), flags=cv2.INTER_LINEAR)
    return Template(
        name=template.name,
        pixels=np.asarray(turned, np.uint8),
        mask=(np.asarray(whole, np.uint8) == 255).astype(np.uint8),
    )


class _Seen:
    """A picture to be compared: sums of products over all its places, each a whole number and exact.

    They come from transforms in double precision, whose error on templates of MAX_SIDE_PX stays below 0.001.

    Args:
        pixels: (rows, cols) uint8.
    """

    def __init__(self, pixels: Pixels) -> None:
        from scipy import fft  # slow to import, and few pipelines need it

        self._fft = fft
        self._shape = tuple(fft.next_fast_len(side, real=True) for side in pixels.shape)
        self._pixels = pixels
        self._changed: dict[int, NDArray[np.complex128]] = {}

    def products(self, template: NDArray[np.float64], power: int = 1) -> NDArray[np.float64]:
        """Sum of template * picture ** power at each place."""
        if power not in self._changed:
            values = self._pixels.astype(np.float64) ** power
            self._changed[power] = np.asarray(self._fft.rfft2(values, self._shape))
        other = np.conj(np.asarray(self._fft.rfft2(template, self._shape)))
        sums = np.asarray(self._fft.irfft2(self._changed[power] * other, self._shape))
        rows, cols = (whole - part + 1 for whole, part in zip(self._pixels.shape, template.shape, strict=True))
        return np.rint(sums[:rows, :cols])

    def sums(self, template: Template) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum of the picture's values and of their squares at each place."""
        if template.mask is not None:
            mask = template.mask.astype(np.float64)
            return self.products(mask), self.products(mask, power=2)
        rows, cols = template.pixels.shape
        both = cv2.integral2(self._pixels, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)
        own, squares = (
            total[rows:, cols:] - total[:-rows, cols:] - total[rows:, :-cols] + total[:-rows, :-cols] for total in both
        )
        return np.asarray(own, np.float64), np.asarray(squares, np.float64)


def _peaks(part: Window, seen: _Seen, template: Template, params: Params) -> NDArray[np.float64]:
    """Left, top (in the window) and score of the places in the core that reach the threshold and beat those beside."""
    scores = _scores(seen, template, str(params["method"]))
    before, after = (cv2.dilate(scores, kernel) for kernel in (_BEFORE, _BEFORE[::-1, ::-1].copy()))
    rows, cols = template.pixels.shape
    left, top = part.core.x - part.rect.x - cols // 2, part.core.y - part.rect.y - rows // 2
    owned = np.zeros(scores.shape, bool)
    owned[max(0, top) : max(0, top + part.core.height), max(0, left) : max(0, left + part.core.width)] = True
    y, x = np.nonzero(owned & (scores >= float(params["threshold"])) & (scores > before) & (scores >= after))
    peaks = np.column_stack([x, y, scores[y, x]])
    return peaks[np.argsort(-peaks[:, 2], kind="stable")[:MAX_PEAKS]]


def _scores(seen: _Seen, template: Template, method: str) -> NDArray[np.float64]:
    """The method's formula at each place; 0 where there is nothing to compare."""
    wanted = template.pixels.astype(np.float64)
    area = float(wanted.size)
    if template.mask is not None:
        wanted *= template.mask
        area = float(template.mask.sum())
    total, squared = float(wanted.sum()), float((wanted * wanted).sum())
    both, (own, squares) = seen.products(wanted), seen.sums(template)
    if method == "TM_CCOEFF_NORMED":
        above = area * both - own * total
        below = np.sqrt(np.maximum(area * squares - own * own, 0)) * math.sqrt(max(0.0, area * squared - total * total))
    else:
        above = both if method == "TM_CCORR_NORMED" else 2 * both - squares - squared
        below = np.sqrt(squares) * math.sqrt(squared)
    score = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    if method == "TM_SQDIFF_NORMED":
        score = np.where(below > 0, 1 + score, 0.0)
    return score


def _range(what: str, low: float, high: float, default: float, meaning: str, steps: int) -> tuple[Parameter, ...]:
    return (
        Parameter(name=f"{what}_low", default=default, low=low, high=high, meaning=f"first {meaning}"),
        Parameter(name=f"{what}_high", default=default, low=low, high=high, meaning=f"last {meaning}"),
        Parameter(
            name=f"{what}_steps", default=1, low=1, high=steps, meaning=f"how many, the first to the last {what}"
        ),
    )


ROWS: tuple[Operator, ...] = (
    Operator(
        name="template_match",
        family="detectors",
        kind="measure",
        run=template_match,
        check=check_templates,
        gives="boxes",
        exact="exact",
        parameters=(
            Parameter(name="templates", default="", file=True, required=True, meaning="picture, or folder of pictures"),
            Parameter(name="method", default="TM_CCOEFF_NORMED", choices=METHODS, meaning="how to compare"),
            Parameter(name="threshold", default=0.8, low=0.2, high=1, meaning="least score"),
            *_range("scale", 0.1, 10, 1.0, "size, times the template's", 32),
            *_range("angle", -360, 360, 0.0, "angle, degrees counter-clockwise", 72),
            Parameter(name="iou", default=0.3, low=0.05, high=1, meaning="overlap from which two are one"),
        ),
        halo=template_halo,
        finish=best_matches,
        meaning="places that look like given pictures",
    ),
)
