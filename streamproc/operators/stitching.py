"""Several cameras' pictures of one scene, joined into one: a panorama.

No operator: pictures of several cameras never meet in one step of a pipeline.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import UsageError
from streamproc.model import Pixels, Rect
from streamproc.operators.pixels import gray, require_pixels

MOST_FRAMES = 16
MOST_PIXELS = 2**25  # of a panorama; about 0.5 GB of sums while it is made
RATIO = 0.75  # Lowe's: the best match must be this much closer than the second
RANSAC_PX = 3.0
RANSAC_STEPS = 5000
FLAT = 1e-9  # determinant of a homography that cannot be turned round
MOST_STRETCH = 16.0  # of a placed frame's area: beyond, the geometry is not to be trusted

Homography = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panorama:
    """Joined pictures.

    Attributes:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; black where no frame is.
        homographies: Of each frame, in the order given: shape (3, 3), from its pixels to the panorama's.
        places: Of each frame: the smallest rectangle of the panorama that holds it.
        joints: Pairs of frames that were matched, and how many points agreed.
    """

    pixels: Pixels
    homographies: tuple[Homography, ...]
    places: tuple[Rect, ...]
    joints: tuple[tuple[int, int, int], ...]


def stitch(frames: Sequence[Pixels], *, features: int = 2000, least_matches: int = 20) -> Panorama:
    """Join overlapping pictures of one scene, taken from one place or of something flat.

    SIFT points of each two frames are matched, and RANSAC finds the homography that most agree on. Frames are placed
    along the best matches, beginning at the frame that has most; where frames overlap they fade into each other, so
    that the border of none is seen. Brightness is left as it is. The same frames always give the same panorama.

    Cost: about 0.1 s for each frame of 640 x 384 pixels, and 0.05 s for each two.

    Args:
        frames: 2 to 16, in any order, each (rows, cols) or (rows, cols, 3) uint8. If any is in colour, the panorama is.
        features: Points looked for in each frame.
        least_matches: Points that two frames must agree on to be joined.

    Raises:
        UsageError: Too few or too many frames, a frame that overlaps too little with the others, or a panorama that
            would be larger than 2^25 pixels or absurdly bent.
        BadPixels: A frame is no picture.

    References:
        M. Brown, D. G. Lowe, Automatic Panoramic Image Stitching using Invariant Features, IJCV 74(1), 2007.
    """
    if not 2 <= len(frames) <= MOST_FRAMES:
        raise UsageError(f"stitching takes 2 to {MOST_FRAMES} frames, got {len(frames)}")
    for frame in frames:
        require_pixels(frame)
    detector = cv2.SIFT.create(nfeatures=features)
    points = [_points(detector, frame) for frame in frames]
    pairs = {
        (first, second): _joint(points[first], points[second])
        for first, second in itertools.combinations(range(len(frames)), 2)
    }
    placed, joints = _placed(len(frames), pairs, least_matches)
    shifted, places, size = _canvas(frames, placed)
    return Panorama(pixels=_blend(frames, shifted, places, size), homographies=shifted, places=places, joints=joints)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    xy: NDArray[np.float32]
    descriptors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Joint:
    """`homography` leads from the second frame's pixels to the first's; `count` of the matches agree."""

    homography: Homography
    count: int


def _points(detector: cv2.SIFT, frame: Pixels) -> _Points:
    described: Any  # None where no point is found, though OpenCV's types do not say so
    found, described = detector.detectAndCompute(gray(frame), None)
    xy = np.asarray(cv2.KeyPoint.convert(found), np.float32).reshape(-1, 2)
    if described is None:
        return _Points(xy, np.zeros((0, 128), np.float32))
    return _Points(xy, np.asarray(described, np.float32))


def _joint(first: _Points, second: _Points) -> _Joint:
    none = _Joint(np.eye(3), 0)
    if min(len(first.xy), len(second.xy)) < 2:
        return none
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(second.descriptors, first.descriptors, k=2)
    good = [best for best, other in matches if best.distance < RATIO * other.distance]
    if len(good) < 4:
        return none
    there = second.xy[[match.queryIdx for match in good]]
    here = first.xy[[match.trainIdx for match in good]]
    found: Any  # None where no four points agree
    found, agree = cv2.findHomography(there, here, cv2.RANSAC, RANSAC_PX, maxIters=RANSAC_STEPS, confidence=0.999)
    if found is None or abs(np.linalg.det(found)) < FLAT:
        return none
    return _Joint(np.asarray(found, np.float64), int(np.count_nonzero(agree)))


def _placed(
    count: int, pairs: dict[tuple[int, int], _Joint], least: int
) -> tuple[list[Homography], tuple[tuple[int, int, int], ...]]:
    """Homographies into the frame that has most matches, along the tree of the best joints."""
    strong = {pair: joint for pair, joint in pairs.items() if joint.count >= max(4, least)}
    held = [sum(joint.count for pair, joint in strong.items() if frame in pair) for frame in range(count)]
    start = int(np.argmax(held))
    known: dict[int, Homography] = {start: np.eye(3)}
    joints: list[tuple[int, int, int]] = []
    while len(known) < count:
        open_pairs = [pair for pair in strong if (pair[0] in known) != (pair[1] in known)]
        if not open_pairs:
            raise UsageError(_apart(count, known, pairs, least))
        pair = max(open_pairs, key=lambda each: strong[each].count)
        joints.append((*pair, strong[pair].count))
        first, second = pair
        step = strong[pair].homography
        if first in known:
            known[second] = known[first] @ step
        else:
            known[first] = known[second] @ np.linalg.inv(step)
    return [known[frame] for frame in range(count)], tuple(joints)


def _apart(count: int, known: dict[int, Homography], pairs: dict[tuple[int, int], _Joint], least: int) -> str:
    alone = next(frame for frame in range(count) if frame not in known)
    most = max(joint.count for pair, joint in pairs.items() if alone in pair)
    return (
        f"frame {alone} (counted from 0) overlaps too little with the others: at most {most} points agree, "
        f"{max(4, least)} are needed; take frames that share about a third of their view"
    )


def _canvas(
    frames: Sequence[Pixels], placed: Sequence[Homography]
) -> tuple[tuple[Homography, ...], tuple[Rect, ...], tuple[int, int]]:
    """Homographies into the panorama, the rectangles they fill there, and its width and height."""
    outlines = [_outline(frame, place, index) for index, (frame, place) in enumerate(zip(frames, placed, strict=True))]
    low = np.floor(np.min([outline.min(axis=0) for outline in outlines], axis=0) + 0.5)
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
    rects = []
    for outline in outlines:
        left, top = np.floor(outline.min(axis=0) - low + 0.5).astype(int).tolist()
        right, bottom = np.floor(outline.max(axis=0) - low + 0.5).astype(int).tolist()
        rects.append(Rect(left, top, right - left + 1, bottom - top + 1))
    width, height = max(rect.right for rect in rects), max(rect.bottom for rect in rects)
    if width * height > MOST_PIXELS:
        raise UsageError(f"the panorama would have {width}x{height} pixels, at most {MOST_PIXELS} are made")
    return tuple(shift @ place for place in placed), tuple(rects), (width, height)


def _outline(frame: Pixels, place: Homography, index: int) -> NDArray[np.float64]:
    """Centres of the four corner pixels of a frame, (4, 2), where they come to lie."""
    right, bottom = frame.shape[1] - 1, frame.shape[0] - 1
    corners = place @ np.array([[0, right, right, 0], [0, 0, bottom, bottom], [1, 1, 1, 1]], np.float64)
    if corners[2].min() > 0:
        outline: NDArray[np.float64] = (corners[:2] / corners[2]).T
        stretch = cv2.contourArea(outline.astype(np.float32)) / max(1, right * bottom)
        if cv2.isContourConvex(outline.astype(np.float32)) and 1 / MOST_STRETCH < stretch < MOST_STRETCH:
            return outline
    raise UsageError(
        f"frame {index} (counted from 0) cannot be placed: its match with the others bends it out of shape"
    )


def _blend(
    frames: Sequence[Pixels], placed: Sequence[Homography], places: Sequence[Rect], size: tuple[int, int]
) -> Pixels:
    """Mean of the frames, each weighted by how far a pixel is from the frame's own border."""
    colour = any(frame.ndim == 3 for frame in frames)
    width, height = size
    sums = np.zeros((height, width, 3 if colour else 1), np.float32)
    weights = np.zeros((height, width, 1), np.float32)
    whole = Rect(0, 0, width, height)
    for frame, place, rect in zip(frames, placed, places, strict=True):
        local = np.array([[1, 0, -rect.x], [0, 1, -rect.y], [0, 0, 1]]) @ place
        shown = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if colour and frame.ndim == 2 else frame
        to, room = (rect.width, rect.height), rect.within(whole)
        warped = cv2.warpPerspective(shown, local, to, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        near = cv2.warpPerspective(_inwards(frame), local, to, flags=cv2.INTER_LINEAR)
        weight = np.asarray(near, np.float32)[:, :, None]
        sums[room] += np.asarray(warped, np.float32).reshape(rect.height, rect.width, -1) * weight
        weights[room] += weight
    joined = np.rint(sums / np.maximum(weights, np.finfo(np.float32).tiny)).astype(np.uint8)
    return joined if colour else np.ascontiguousarray(joined[:, :, 0])


def _inwards(frame: Pixels) -> NDArray[np.float32]:
    """How far each pixel is from the frame's nearest border, 1 at it."""
    rows, cols = frame.shape[:2]
    down, across = (np.minimum(np.arange(side) + 1, side - np.arange(side)) for side in (rows, cols))
    return np.asarray(np.minimum(down[:, None], across[None, :]), np.float32)
