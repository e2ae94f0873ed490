"""How like two views are, and how one is turned and shifted against the other; on the cells of `vitals`."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SLOPE_CLIP: Final = 32.0  # grey levels between cells; a lamp or a white car may not outweigh the rest
LEAST_SLOPE: Final = 1.0  # root mean square below which a part has no structure
PART: Final = 8  # cells
LEAST_PARTS: Final = 4
QUANTILE: Final = 0.6
CROP: Final = 0.56  # of both sides: what is left of a 16:9 picture turned by 30 degrees
LARGEST_ANGLE, ANGLE_STEP = 30, 2  # degrees
LEAST_ANGLE: Final = 4  # degrees from which a view is tilted
LEAST_MATCH: Final = 0.7  # correlation of a view that is recognised
BETTER: Final = 0.1  # by which a turned view must match better than one that is not
LEAST_CELLS: Final = 6  # of a side that can be looked for


def likeness(usual: NDArray[np.float64], now: NDArray[np.float64]) -> float | None:
    """Correlation of the slopes between neighbouring cells, at most 1; light that changes evenly does not change it.

    It is taken for each part of about 8 x 8 cells that has structure; the likeness is that of the part that 60 % of
    them are not better than. So what hides up to half of the view counts little.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame.

    Returns:
        None if the usual view has fewer than LEAST_PARTS parts with structure.
    """
    found = [
        float(first @ second) / float(np.sqrt(strength * max(float(second @ second), 1e-9)))
        for first, second in zip(_parts(usual), _parts(now), strict=True)
        if (strength := float(first @ first)) >= LEAST_SLOPE**2 * max(1, first.size)
    ]
    return float(np.quantile(found, QUANTILE)) if len(found) >= LEAST_PARTS else None


def locate(usual: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[int, int, int] | None:
    """Look for the middle of the usual view in another one, turned and shifted.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame.

    Returns:
        Degrees by which the picture has turned, counter-clockwise, 0 if less than LEAST_ANGLE; columns and rows of
        cells by which its middle has moved. None if it is not recognised.
    """
    rows, columns = usual.shape
    height, width = (max(1, round(CROP * side)) for side in usual.shape)
    if min(height, width) < LEAST_CELLS:
        return None
    top, left = (rows - height) // 2, (columns - width) // 2
    seen = now.astype(np.float32)
    straight = best = (0.0, 0, 0, 0)
    for angle in sorted(range(-LARGEST_ANGLE, LARGEST_ANGLE + 1, ANGLE_STEP), key=abs):
        turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle, 1.0)
        turned = cv2.warpAffine(usual.astype(np.float32), turn, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
        part = turned[top : top + height, left : left + width]
        if float(part.std()) < LEAST_SLOPE:
            continue
        match = np.nan_to_num(np.asarray(cv2.matchTemplate(seen, part, cv2.TM_CCOEFF_NORMED), np.float64), posinf=0)
        y, x = np.unravel_index(int(match.argmax()), match.shape)
        found = (float(match[y, x]), angle, int(x) - left, int(y) - top)
        if best[0] < found[0] <= 1.001:
            best = found
        if abs(angle) < LEAST_ANGLE and straight[0] < found[0] <= 1.001:
            straight = found
    if best[0] < straight[0] + BETTER:
        best = straight
    if best[0] < LEAST_MATCH:
        return None
    return (best[1] if abs(best[1]) >= LEAST_ANGLE else 0), best[2], best[3]


def _parts(cells: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Slopes to the right and down, part by part, each as one row."""
    rows, columns = (max(1, round(side / PART)) for side in cells.shape)
    across, down = (np.clip(np.diff(cells, axis=axis), -SLOPE_CLIP, SLOPE_CLIP) for axis in (1, 0))
    return [
        np.concatenate([first.ravel(), second.ravel()])
        for bands in zip(np.array_split(across, rows), np.array_split(down, rows), strict=True)
        for first, second in zip(*(np.array_split(band, columns, axis=1) for band in bands), strict=True)
    ]
