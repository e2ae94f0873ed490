"""Points as arrays and as the value that travels, and the one order they are kept in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Points, Rect
from streamproc.operators.table import Parameter

Coordinates = NDArray[np.float32]
MOST_POINTS = 10_000


def limit_parameter() -> Parameter:
    """Return the parameter of every operator that finds points."""
    return Parameter(name="limit", default=500, low=1, high=MOST_POINTS, meaning="strongest points kept of a frame")


def pack_points(
    xy: NDArray[np.floating],
    response: NDArray[np.floating],
    *,
    limit: int,
    descriptors: NDArray[np.uint8] | None = None,
) -> Points:
    """Keep the strongest points: by response, then from top to bottom, then from left to right.

    The order is total over distinct points, so that the strongest `limit` of a frame are among the
    strongest `limit` of its tiles, and come out in the same order.

    Args:
        xy: Shape (N, 2), frame coordinates.
        response: Shape (N,).
        limit: How many to keep; 0 keeps all.
        descriptors: Shape (N, bytes), uint8.
    """
    # Ordered as stored: values that differ in float64 alone would change places when tiles are merged.
    places = np.asarray(xy, dtype="<f4").reshape(-1, 2)
    strength = np.asarray(response, dtype="<f4").reshape(-1)
    kept = _strongest(strength, limit)
    order = kept[np.lexsort((places[kept, 0], places[kept, 1], -strength[kept]))]
    if limit:
        order = order[:limit]
    rows = np.zeros((strength.size, 0), np.uint8) if descriptors is None else descriptors
    return Points(
        xy=places[order].tobytes(),
        response=strength[order].tobytes(),
        descriptors=rows[order].tobytes(),
        descriptor_bytes=rows.shape[1],
        limit=limit,
    )


def _strongest(strength: NDArray[np.float32], limit: int) -> NDArray[np.intp]:
    """Indices of the strongest `limit` and of all that are as strong as the last of them; of all if it is 0."""
    if not 0 < limit < strength.size:
        return np.arange(strength.size)
    least = np.partition(strength, strength.size - limit)[strength.size - limit]
    return np.flatnonzero(~(strength < least))


def unpack_points(points: Points) -> tuple[Coordinates, NDArray[np.float32], NDArray[np.uint8]]:
    """Give back (N, 2) coordinates, (N,) responses and (N, bytes) descriptors, as read-only views.

    Raises:
        BadMessage: The lengths do not fit together.
    """
    count = len(points.response) // 4
    width = points.descriptor_bytes
    fits = len(points.response) == 4 * count and len(points.xy) == 8 * count and width >= 0
    if not fits or len(points.descriptors) != count * width:
        raise BadMessage("schema", f"points of {count} responses have other arrays of another length")
    return (
        np.frombuffer(points.xy, "<f4").reshape(count, 2),
        np.frombuffer(points.response, "<f4"),
        np.frombuffer(points.descriptors, np.uint8).reshape(count, width),
    )


def set_pixels(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Say where a mask is set: (N, 2), x and y, from top to bottom and from left to right."""
    y, x = np.divmod(np.flatnonzero(mask), mask.shape[1])  # 10 times faster than np.nonzero of two dimensions
    return np.stack([x, y], axis=1)


def inside(xy: NDArray[np.floating], core: Rect) -> NDArray[np.bool_]:
    """Say which of (N, 2) points lie in a rectangle, right and bottom exclusive: no two cores share one."""
    x, y = xy[:, 0], xy[:, 1]
    return (x >= core.x) & (x < core.right) & (y >= core.y) & (y < core.bottom)
