"""What moves in front of a camera: one frame against those before it.

Each follower keeps what it needs of earlier frames in its memory, reduced by `scale`, and begins anew when the size
or the kind of the pictures changes. A worker that takes over a camera begins anew as well.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Boxes, Figures, Pixels
from streamproc.operators.boxes import pack_boxes
from streamproc.operators.pixels import gray, require_pixels, thumbnail
from streamproc.operators.table import Memory, Operator, Parameter, Params, Scene, Sighting, Window

MOVING = "moving"
FOREGROUND = 255  # in MOG2's mask; shadows are 127
SAME_REGION_IOU = 0.9  # regions of one mask never overlap, their boxes may
FLOW_LEAST_PX = 8  # smaller pictures have no flow worth the name
BACKTRACK_PX = 0.5  # a point tracked there and back must come back to within this, in pixels of the reduced picture


def background_subtraction(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Find what is not background, by OpenCV's MOG2: a mixture of normal distributions for each pixel.

    The background is learned from the frames themselves. While fewer than `learn` frames have been seen there is no
    result. What stands still becomes background after about a tenth of `history` frames, sooner while little more than
    `learn` have been seen.

    Memory: about 60 bytes for each pixel of the reduced picture when grey, 100 when colour.

    Args:
        scene: Colour or grey pixels.
        memory: The model, and how many frames it has learned.
        params: `history`, frames; `var_threshold`, squared deviations a pixel of the background may be off; `shadows`,
            leave out what looks like the background at half its brightness or more (of grey pictures, all that is a
            little darker); `learn`, frames; `scale` by which the picture is reduced first;
            `ksize`, pixels of the reduced picture, of the opening that takes specks away; `min_area`,
            pixels of the frame; `limit`, boxes.

    Returns:
        Boxes "moving" around connected regions, the largest `limit`, frame coordinates. The score is the region's
        share of the frame. In events also `moving`, the share of all boxes told, and `learned`, frames that the
        background rests on, counted up to `learn` + 1.

    Raises:
        BadPixels: Pixels of another shape or type.

    References:
        Z. Zivkovic, F. van der Heijden, Efficient Adaptive Density Estimation per Image Pixel for the Task of
        Background Subtraction, Pattern Recognition Letters 27(7), 2006.
    """
    if scene.window is None:
        return Sighting()
    small = _reduced(scene.window, params)
    _begin_anew(memory, small)
    if "model" not in memory:
        memory["model"] = cv2.createBackgroundSubtractorMOG2(
            history=int(params["history"]),
            varThreshold=float(params["var_threshold"]),
            detectShadows=bool(params["shadows"]),
        )
    mask = np.asarray(memory["model"].apply(small), np.uint8)
    memory["learned"] = min(memory.get("learned", 0) + 1, int(params["learn"]) + 1)
    if memory["learned"] <= int(params["learn"]):
        return Sighting()
    regions = _regions(np.asarray(mask == FOREGROUND, np.uint8), scene.window, params)
    figures = {**regions.figures, "learned": float(memory["learned"])}
    return Sighting(result=msgspec.structs.replace(regions, figures=figures))


def frame_difference(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Find what differs from the frame before: any channel by more than `level`.

    A thing that moves differs where it was and where it is; a region covers both. Frames that are missing are passed
    over: the last one seen counts.

    Args:
        scene: Colour or grey pixels.
        memory: The last picture, reduced.
        params: `level`, grey levels; `scale` by which the picture is reduced first; `ksize`, pixels of the reduced
            picture, of the opening that takes specks away; `min_area`, pixels of the frame; `limit`, boxes.

    Returns:
        Boxes "moving" as `background_subtraction` has them; nothing for the first frame.

    Raises:
        BadPixels: Pixels of another shape or type.
    """
    if scene.window is None:
        return Sighting()
    small = _reduced(scene.window, params)
    _begin_anew(memory, small)
    before = memory.get("picture")
    memory["picture"] = small
    if before is None:
        return Sighting()
    apart = np.asarray(cv2.absdiff(small, before), np.uint8)
    most = apart if apart.ndim == 2 else apart.max(axis=2)
    return Sighting(result=_regions(np.asarray(most > int(params["level"]), np.uint8), scene.window, params))


def optical_flow(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Measure how far each pixel has moved since the frame before, by Farneback's polynomials.

    Args:
        scene: Grey pixels, which is what a pipeline hands it; colour is turned grey after it is reduced.
        memory: The last picture, reduced, and its number.
        params: `scale` by which the picture is reduced first; `levels` of the pyramid; `winsize`, pixels of the reduced
            picture; `iterations`; `poly_n`, neighbourhood of the polynomials; `least`, pixels of the frame.

    Returns:
        Figures, distances in pixels of the frame since the picture before: `dx` and `dy`, medians over all pixels;
        `mean` and `p95` of the distances; `moving`, share that moved by at least `least`; `direction_deg` of what
        moved together, 0 to the right, 90 down; `direction_strength`, 0 (all directions) to 1 (one); `frames`, by how
        many the number of the picture is higher. Nothing for the first frame, and none for pictures that are less than
        8 pixels high or wide when reduced.

    Raises:
        BadPixels: Pixels of another shape or type.

    References:
        G. Farneback, Two-Frame Motion Estimation Based on Polynomial Expansion, SCIA 2003.
    """
    pair = _pair(scene, memory, params)
    if pair is None:
        return Sighting()
    before, now, frames = pair
    start: NDArray[np.float32] = np.zeros((*now.shape, 2), np.float32)
    poly_n = int(params["poly_n"])
    flow = cv2.calcOpticalFlowFarneback(
        before,
        now,
        start,
        pyr_scale=0.5,
        levels=int(params["levels"]),
        winsize=int(params["winsize"]),
        iterations=int(params["iterations"]),
        poly_n=poly_n,
        poly_sigma=1.1 if poly_n == 5 else 1.5,  # as Farneback pairs them
        flags=0,
    )
    vectors = np.asarray(flow, np.float64).reshape(-1, 2) * int(params["scale"])
    far = np.hypot(vectors[:, 0], vectors[:, 1])
    moving = far >= float(params["least"])
    told = {"dx": float(np.median(vectors[:, 0])), "dy": float(np.median(vectors[:, 1])), "mean": float(far.mean())}
    told |= {"p95": float(np.percentile(far, 95)), "moving": float(np.count_nonzero(moving)) / far.size}
    told |= _direction(vectors[moving], far[moving])
    return Sighting(result=Figures(values={**_rounded(told), "frames": frames}))


def sparse_flow(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Measure how far corners have moved since the frame before, by Lucas and Kanade's pyramid.

    Corners are Shi and Tomasi's, of the picture before. One counts as tracked if tracking it back leads to where
    it was. Cheaper and surer about the camera's own motion than `optical_flow`, but it sees nothing in plain areas.

    Args:
        scene: Grey pixels, which is what a pipeline hands it; colour is turned grey after it is reduced.
        memory: The last picture, reduced, and its number.
        params: `scale` by which the picture is reduced first; `limit`, corners; `quality`, share of the best corner's
            response; `min_distance` of corners and `winsize`, pixels of the reduced picture; `levels` of the pyramid.

    Returns:
        Figures, distances in pixels of the frame since the picture before: `corners`; `tracked`, share of them; of
        those tracked: `dx` and `dy`, medians; `mean` and `p95` of the distances; `spread`, median distance from
        (`dx`, `dy`); `frames`, by how many the number of the picture is higher. Nothing for the first frame, and
        none for pictures that are less than 8 pixels high or wide when reduced.

    Raises:
        BadPixels: Pixels of another shape or type.

    References:
        B. D. Lucas, T. Kanade, An Iterative Image Registration Technique, IJCAI 1981;
        J. Shi, C. Tomasi, Good Features to Track, CVPR 1994.
    """
    pair = _pair(scene, memory, params)
    if pair is None:
        return Sighting()
    before, now, frames = pair
    found: Any = cv2.goodFeaturesToTrack(
        before, int(params["limit"]), float(params["quality"]), float(params["min_distance"])
    )
    corners: NDArray[np.float32] = np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)
    vectors = _tracked(before, now, corners, params) * int(params["scale"])
    told = {
        "tracked": len(vectors) / max(1, len(corners)),
        "dx": 0.0,
        "dy": 0.0,
        "mean": 0.0,
        "p95": 0.0,
        "spread": 0.0,
    }
    if len(vectors):
        middle, far = np.median(vectors, axis=0), np.hypot(vectors[:, 0], vectors[:, 1])
        told |= {"dx": float(middle[0]), "dy": float(middle[1]), "mean": float(far.mean())}
        told |= {"p95": float(np.percentile(far, 95))}
        told |= {"spread": float(np.median(np.hypot(*(vectors - middle).T)))}
    return Sighting(result=Figures(values={"corners": len(corners), **_rounded(told), "frames": frames}))


def _reduced(window: Window, params: Params) -> Pixels:
    require_pixels(window.pixels)
    # A copy: the frame's own memory is not kept alive, nor changed under the model.
    return thumbnail(window.pixels, int(params["scale"])).copy()


def _begin_anew(memory: Memory, small: Pixels) -> None:
    """Forget everything if pictures are of another shape than before."""
    if memory.get("shape") != small.shape:
        memory.clear()
        memory["shape"] = small.shape


def _pair(scene: Scene, memory: Memory, params: Params) -> tuple[Pixels, Pixels, int] | None:
    """The grey picture before and this one, and the numbers between; None if there is no pair to be compared."""
    if scene.window is None:
        return None
    now = gray(_reduced(scene.window, params))
    _begin_anew(memory, now)
    before, sequence = memory.get("picture"), memory.get("sequence", scene.sequence)
    memory["picture"], memory["sequence"] = now, scene.sequence
    if before is None or min(now.shape) < FLOW_LEAST_PX:
        return None
    return before, now, scene.sequence - sequence


def _regions(mask: Pixels, window: Window, params: Params) -> Boxes:
    """Boxes around the connected regions of a mask of 0 and 1 of the reduced picture."""
    scale, ksize = int(params["scale"]), int(params["ksize"])
    if ksize > 1:
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((ksize, ksize), np.uint8)), np.uint8)
    _, _, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    stats = np.asarray(found, np.int64)[1:]
    stats = stats[stats[:, cv2.CC_STAT_AREA] * scale**2 >= int(params["min_area"])]
    order = np.lexsort((stats[:, 0], stats[:, 1], -stats[:, cv2.CC_STAT_AREA]))[: int(params["limit"])]
    left, top, width, height, area = stats[order].T
    corners = np.stack([left, top, left + width, top + height], axis=1) * scale
    held = np.minimum(corners, (window.width, window.height) * 2).astype(np.float64)
    boxes = pack_boxes(MOVING, held, area / mask.size, iou=SAME_REGION_IOU)
    return msgspec.structs.replace(boxes, figures={"moving": round(float(area.sum()) / mask.size, 6)})


def _tracked(before: Pixels, now: Pixels, corners: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
    """How far corners went, (N, 2), of those that can be tracked there and back."""
    if not len(corners):
        return np.zeros((0, 2))
    side = int(params["winsize"])
    options: dict[str, Any] = {"winSize": (side, side), "maxLevel": int(params["levels"])}
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, corners.copy(), **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, there, there.copy(), **options)
    off = np.abs(np.asarray(back) - corners).reshape(-1, 2).max(axis=1)
    good = (np.asarray(seen).reshape(-1) == 1) & (np.asarray(again).reshape(-1) == 1) & (off < BACKTRACK_PX)
    vectors = np.asarray(there, np.float64).reshape(-1, 2) - corners.reshape(-1, 2)
    return np.asarray(vectors[good], np.float64)


def _direction(vectors: NDArray[np.float64], far: NDArray[np.float64]) -> dict[str, float]:
    x, y = vectors.sum(axis=0).tolist()
    total = float(far.sum())
    if total <= 0:
        return {"direction_deg": 0.0, "direction_strength": 0.0}
    return {
        "direction_deg": round(math.degrees(math.atan2(y, x)), 3) % 360,
        "direction_strength": math.hypot(x, y) / total,
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _scale(default: int) -> Parameter:
    return Parameter(
        name="scale", default=default, choices=(1, 2, 4, 8, 16), meaning="the picture is reduced by this first"
    )


_REGIONS: tuple[Parameter, ...] = (
    _scale(2),
    Parameter(name="ksize", default=3, low=1, high=31, odd=True, meaning="opening that takes specks away; 1: none"),
    Parameter(name="min_area", default=100, low=1, high=2**31, meaning="smallest region, pixels of the frame"),
    Parameter(name="limit", default=100, low=1, high=1000, meaning="largest regions that are told"),
)
_LEVELS = Parameter(name="levels", default=3, low=1, high=8, meaning="of the pyramid, each half the size")

ROWS: tuple[Operator, ...] = (
    Operator(
        name="background_subtraction",
        family="motion",
        kind="follower",
        run=background_subtraction,
        accepts=("color", "gray"),
        gives="boxes",
        scope="frame",
        parameters=(
            Parameter(name="history", default=500, low=1, high=100000, meaning="frames the background rests on"),
            Parameter(name="var_threshold", default=16.0, low=1, high=1000, meaning="squared deviations from it"),
            Parameter(name="shadows", default=True, meaning="tell shadows apart, and leave them out"),
            Parameter(name="learn", default=30, low=1, high=1000, meaning="frames before the first result"),
            *_REGIONS,
        ),
        meaning="regions that are not background, by MOG2",
    ),
    Operator(
        name="frame_difference",
        family="motion",
        kind="follower",
        run=frame_difference,
        accepts=("color", "gray"),
        gives="boxes",
        scope="frame",
        parameters=(
            Parameter(
                name="level", default=25, low=0, high=254, meaning="grey levels; what differs by more has changed"
            ),
            *_REGIONS,
        ),
        meaning="regions that differ from the frame before",
    ),
    Operator(
        name="optical_flow",
        family="motion",
        kind="follower",
        run=optical_flow,
        scope="frame",
        parameters=(
            _scale(2),
            _LEVELS,
            Parameter(name="winsize", default=15, low=3, high=63, odd=True, meaning="averaging window, reduced pixels"),
            Parameter(name="iterations", default=3, low=1, high=10, meaning="at each level"),
            Parameter(name="poly_n", default=5, choices=(5, 7), meaning="neighbourhood of the polynomials, pixels"),
            Parameter(name="least", default=1.0, low=0, high=1000, meaning="moving from here on, pixels of the frame"),
        ),
        meaning="how far pixels have moved since the frame before, by Farneback",
    ),
    Operator(
        name="sparse_flow",
        family="motion",
        kind="follower",
        run=sparse_flow,
        scope="frame",
        parameters=(
            _scale(1),
            Parameter(name="limit", default=200, low=1, high=5000, meaning="corners"),
            Parameter(name="quality", default=0.01, low=0.0001, high=1, meaning="share of the best corner's response"),
            Parameter(name="min_distance", default=7, low=1, high=100, meaning="between corners, reduced pixels"),
            Parameter(name="winsize", default=21, low=3, high=63, odd=True, meaning="of the search, reduced pixels"),
            _LEVELS,
        ),
        meaning="how far corners have moved since the frame before, by Lucas-Kanade",
    ),
)
