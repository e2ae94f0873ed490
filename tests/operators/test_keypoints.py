from __future__ import annotations

from collections.abc import Callable
from itertools import product

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from streamproc.aggregator.merging import merge_points
from streamproc.errors import BadPixels
from streamproc.model import Grid, Pixels, Points
from streamproc.operators.keypoints import AKAZE_LEAST_PX, ROWS, akaze, brisk, sift
from streamproc.operators.pixels import gray
from streamproc.operators.points import MOST_POINTS, inside, unpack_points
from streamproc.operators.table import Measure, Params, Value
from streamproc.operators.tiling import split
from tests.operators.pictures import GALLERY, Cut, cuts, grey_picture, photograph, plane
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}
RUN: dict[str, Measure] = {"sift": sift, "akaze": akaze, "brisk": brisk}
BYTES = {"sift": 128, "akaze": 61, "brisk": 64}
# The least share of the frame's points found in tiles, of tiles' points found in the frame, and of equal descriptors.
SHARES = {"sift": (0.98, 0.98, 0.95), "akaze": (0.88, 0.97, 0.85), "brisk": (0.97, 0.97, 0.97)}


def camera() -> Pixels:
    return np.asarray(skimage.data.camera(), np.uint8)  # type: ignore[no-untyped-call]  # no types there


def pictures() -> list[Pixels]:
    return [gray(photograph(624, 480)), np.ascontiguousarray(camera()[:504, :504])]


def everything(name: str, **given_values: Value) -> Params:
    return parameters(ROW[name], limit=MOST_POINTS, **given_values)


def of_frame(name: str, picture: Pixels, params: Params) -> Points:
    (window,) = split(picture, Grid(1, 1), 0)
    found = RUN[name](window, params)
    assert isinstance(found, Points)
    return found


def of_tiles(name: str, picture: Pixels, params: Params, grid: Grid) -> Points:
    parts: list[Points] = []
    for window in split(picture, grid, ROW[name].halo(params)):
        found = RUN[name](window, params)
        assert isinstance(found, Points)
        parts.append(found)
    return merge_points(parts)


def same_place(first: Points, second: Points) -> list[list[int]]:
    """Of each point of the first those of the second within half a pixel."""
    tree = cKDTree(unpack_points(second)[0])
    return [list(tree.query_ball_point(place, 0.5)) for place in unpack_points(first)[0]]


def alike(name: str, row: NDArray[np.uint8], others: NDArray[np.uint8]) -> bool:
    """Whether one of the other descriptors differs by at most 5 percent, of its length or of its bits."""
    if name == "sift":
        distance = np.linalg.norm(others.astype(float) - row, axis=1)
        return bool(distance.min() <= 0.05 * np.linalg.norm(row.astype(float)))
    return bool(np.unpackbits(others ^ row, axis=1).sum(axis=1).min() <= 0.05 * 8 * row.size)


@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize("which", [0, 1])
def test_most_points_of_tiles_are_points_of_the_frame_and_the_reverse(name: str, which: int) -> None:
    picture = pictures()[which]
    whole, tiles = (found(name, picture) for found in (_frame, _tiles))
    near = same_place(whole, tiles)
    rows, others = unpack_points(whole)[2], unpack_points(tiles)[2]
    assert len(rows) > 400
    recall, precision, equal = SHARES[name]
    assert np.mean([bool(found) for found in near]) >= recall
    assert np.mean([bool(found) for found in same_place(tiles, whole)]) >= precision
    agree = [bool(found) and alike(name, row, others[found]) for row, found in zip(rows, near, strict=True)]
    assert np.mean(agree) >= equal


@pytest.mark.parametrize(
    ("sizes", "grid", "least", "middle", "most"),
    [
        (((624, 480),), Grid(2, 2), 0.97, 0.995, 1),
        (((640, 384), (630, 470), (1280, 720)), Grid(2, 2), 0.45, 0.78, 0.95),
        (((640, 384),), Grid(3, 5), 0.61, 0.80, 0.91),
    ],
)
def test_the_share_of_brisk_s_points_that_tiles_find_is_what_the_page_says(
    sizes: tuple[tuple[int, int], ...], grid: Grid, least: float, middle: float, most: float
) -> None:
    params, shares = everything("brisk"), []
    for name, size in product(GALLERY, sizes):
        picture = grey_picture(name, *size)
        frame, tiles = (unpack_points(of_tiles("brisk", picture, params, cut))[0] for cut in (Grid(1, 1), grid))
        shares.append(np.mean(cKDTree(tiles).query(frame)[0] <= 0.5))
    assert least <= min(shares)
    assert max(shares) <= most
    assert np.median(shares) == pytest.approx(middle, abs=0.03)


def test_a_limit_makes_tiles_find_up_to_15_of_100_points_of_the_frame_less() -> None:
    def share(limit: int) -> float:
        params = parameters(ROW["brisk"], limit=limit)
        picture = grey_picture("camera", 1280, 720)
        frame, tiles = (unpack_points(of_tiles("brisk", picture, params, cut))[0] for cut in (Grid(1, 1), Grid(2, 2)))
        return float(np.mean(cKDTree(tiles).query(frame)[0] <= 0.5))

    assert 0.1 <= share(MOST_POINTS) - share(500) <= 0.17


def _frame(name: str, picture: Pixels) -> Points:
    return of_frame(name, picture, everything(name))


def _tiles(name: str, picture: Pixels) -> Points:
    return of_tiles(name, picture, everything(name), Grid(2, 2))


def test_brisk_tiles_of_a_frame_off_its_step_still_hold_most_points() -> None:
    picture = gray(photograph(640, 480))
    near = same_place(_frame("brisk", picture), _tiles("brisk", picture))
    assert 0.7 <= np.mean([bool(found) for found in near]) < 0.97


@pytest.mark.parametrize("pattern_scale", [1.0, 1.37])
def test_brisk_without_octaves_finds_the_points_of_the_frame(pattern_scale: float) -> None:
    for picture, grid in ((camera(), Grid(2, 2)), (gray(photograph(637, 433)), Grid(5, 7))):
        params = everything("brisk", octaves=0, threshold=25, pattern_scale=pattern_scale)
        whole, tiles = of_frame("brisk", picture, params), of_tiles("brisk", picture, params, grid)
        near = same_place(whole, tiles)
        rows, others = unpack_points(whole)[2], unpack_points(tiles)[2]
        assert len(others) == len(rows) > 500
        assert all(near)
        assert np.mean([alike("brisk", row, others[found]) for row, found in zip(rows, near, strict=True)]) > 0.99


@pytest.mark.parametrize(
    ("name", "detector"),
    [
        ("sift", lambda: cv2.SIFT.create(0)),
        ("akaze", cv2.AKAZE.create),
        ("brisk", cv2.BRISK.create),
    ],
)
@pytest.mark.parametrize("size", [(640, 480), (333, 217)])
def test_a_whole_frame_gives_opencv_s_points(
    name: str, detector: Callable[[], cv2.Feature2D], size: tuple[int, int]
) -> None:
    picture = gray(photograph(*size))
    found, rows = detector().detectAndCompute(picture, None)
    expected = sorted(
        (point.pt, np.float32(point.response).item(), row.astype(np.uint8).tobytes())
        for point, row in zip(found, np.asarray(rows), strict=True)
    )
    assert np.array_equal(rows, np.asarray(rows).astype(np.uint8))
    xy, response, descriptors = unpack_points(of_frame(name, picture, everything(name)))
    mine = sorted(
        (tuple(place), strength, row.tobytes())
        for place, strength, row in zip(xy.tolist(), response.tolist(), descriptors, strict=True)
    )
    assert mine == expected


@pytest.mark.parametrize("name", RUN)
def test_the_strongest_are_kept(name: str) -> None:
    picture = gray(photograph(400, 300))
    everyone = unpack_points(of_frame(name, picture, everything(name)))[1]
    some = of_frame(name, picture, parameters(ROW[name], limit=20))
    assert unpack_points(some)[1].tolist() == everyone[:20].tolist()
    assert some.limit == 20


@settings(max_examples=25)
@pytest.mark.parametrize("name", RUN)
@given(cuts(), st.data())
def test_any_window_is_taken_and_points_lie_in_the_core(name: str, case: Cut, data: st.DataObject) -> None:
    coarsest = data.draw(st.booleans())
    params = parameters(ROW[name], **({} if name == "sift" else {"octaves": 4 if coarsest else 1}))
    for window in split(case.pixels, case.grid, ROW[name].halo(params) + case.extra_halo)[:2]:
        points = RUN[name](window, params)
        assert isinstance(points, Points)
        xy, response, descriptors = unpack_points(points)
        assert points.descriptor_bytes == BYTES[name]
        assert descriptors.shape == (len(xy), BYTES[name])
        assert inside(xy, window.core).all()
        assert (np.diff(response) <= 0).all()


def test_akaze_finds_nothing_in_pictures_that_are_left_out() -> None:
    assert of_frame("akaze", plane(1, 200, "noise", 1), everything("akaze")).response == b""
    for width in (2, AKAZE_LEAST_PX - 1):
        for kind in ("noise", "smooth noise", "specks"):
            picture = plane(width, 200, kind, 3)
            assert not cv2.AKAZE.create(threshold=1e-6).detect(picture)


@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize("pixels", [np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.float32)])
def test_other_pixels_than_grey_are_refused(name: str, pixels: Pixels) -> None:
    (window,) = split(pixels, Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        RUN[name](window, ROW[name].defaults())
