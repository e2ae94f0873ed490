from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.aggregator.merging import merge_points
from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Pixels, Points
from streamproc.operators.blobs import ROWS, shi_tomasi, shi_tomasi_corners, shi_tomasi_halo, smaller_eigenvalue
from streamproc.operators.pixels import gray
from streamproc.operators.points import MOST_POINTS, unpack_points
from streamproc.operators.table import Measure, Params, Value
from streamproc.operators.tiling import split
from tests.operators.halos import spoiled
from tests.operators.pictures import Cut, astronaut, cuts, photograph, plane
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}
CORNERS = ROW["shi_tomasi"]


def corners(picture: Pixels, params: Params, grid: Grid, halo: int) -> Points:
    return shi_tomasi_corners(merge_points([shi_tomasi(part, params) for part in split(picture, grid, halo)]), params)


def found(name: str, picture: NDArray[Any], **given_values: Value) -> Any:
    (window,) = split(picture, Grid(1, 1), 0)
    return cast("Measure", ROW[name].run)(window, parameters(ROW[name], **given_values))


# --- Shi and Tomasi ------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    cuts(),
    st.sampled_from([0.0001, 0.01, 0.3, 1.0]),
    st.sampled_from([0.0, 1.0, 2.5, 10.0]),
    st.sampled_from([2, 3, 6, 31]),
    st.sampled_from([1, 25, 10_000]),
)
def test_corners_of_tiles_are_those_of_the_frame(
    case: Cut, quality_level: float, min_distance: float, block_size: int, limit: int
) -> None:
    params = parameters(
        CORNERS, quality_level=quality_level, min_distance=min_distance, block_size=block_size, limit=limit
    )
    whole = corners(case.pixels, params, Grid(1, 1), 0)
    assert corners(case.pixels, params, case.grid, shi_tomasi_halo(params) + case.extra_halo) == whole


@pytest.mark.parametrize("block_size", [2, 3, 7, 10])
def test_the_halo_is_no_larger_than_needed(block_size: int) -> None:
    picture = plane(128, 96, "noise", 7)
    params = parameters(CORNERS, block_size=block_size, min_distance=0.0, limit=MOST_POINTS)
    parts = [shi_tomasi(window, params) for window in spoiled(picture, Grid(2, 2), shi_tomasi_halo(params))]
    assert shi_tomasi_corners(merge_points(parts), params) != corners(picture, params, Grid(1, 1), 0)


@given(cuts(), st.sampled_from([2, 3, 8, 31]))
def test_the_eigenvalue_is_opencv_s_up_to_rounding(case: Cut, block_size: int) -> None:
    expected = cv2.cornerMinEigenVal(case.pixels, block_size, ksize=3)
    # Its float32 loses where the gradients are large and the smaller eigenvalue is not.
    lost = 1e-6 * float(cv2.cornerEigenValsAndVecs(case.pixels, block_size, 3)[:, :, :2].max())
    assert np.allclose(smaller_eigenvalue(case.pixels, block_size), expected, rtol=1e-4, atol=max(1e-9, lost))


@pytest.mark.parametrize(
    ("quality_level", "min_distance", "block_size"), [(0.01, 10.0, 3), (0.05, 0.0, 5), (0.1, 7.5, 2)]
)
def test_corners_of_photographs_are_those_opencv_finds_good_to_track(
    quality_level: float, min_distance: float, block_size: int
) -> None:
    camera = np.asarray(skimage.data.camera(), np.uint8)  # type: ignore[no-untyped-call]  # no types there
    for picture in (gray(astronaut()), gray(photograph(333, 217)), camera):
        expected = cv2.goodFeaturesToTrack(picture, 400, quality_level, min_distance, blockSize=block_size)
        params = parameters(
            CORNERS, quality_level=quality_level, min_distance=min_distance, block_size=block_size, limit=400
        )
        xy, response, _ = unpack_points(corners(picture, params, Grid(3, 4), shi_tomasi_halo(params)))
        theirs = {tuple(place) for place in np.asarray(expected).reshape(-1, 2).tolist()}
        mine = {tuple(place) for place in xy.tolist()}
        assert len(theirs) > 50
        assert len(mine & theirs) >= 0.99 * len(mine | theirs)  # float32 of OpenCV and ties of equals
        assert (np.diff(response) <= 0).all()


def test_corners_keep_their_distance_and_a_square_has_four() -> None:
    picture: Pixels = np.zeros((40, 50), np.uint8)
    picture[10:30, 15:40] = 200
    xy, _, _ = unpack_points(corners(picture, CORNERS.defaults(), Grid(2, 2), shi_tomasi_halo(CORNERS.defaults())))
    assert {(round(x / 5) * 5, round(y / 5) * 5) for x, y in xy.tolist()} == {(15, 10), (40, 10), (15, 30), (40, 30)}
    params = parameters(CORNERS, min_distance=23.0)
    xy, _, _ = unpack_points(corners(gray(astronaut()), params, Grid(1, 1), 0))
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert len(xy) > 50
    assert 23 <= apart.min() < 25


def test_the_best_may_stand_at_the_frame_s_border_where_no_corner_is() -> None:
    picture = np.asarray(plane(60, 60, "noise", 4) // 3, np.uint8)
    picture[20:, -1] = plane(1, 40, "noise", 15)[:, 0]
    eigenvalues = smaller_eigenvalue(picture, 2)
    assert int(np.argmax(eigenvalues)) % 60 == 59
    assert eigenvalues[1:-1, 1:-1].max() < 0.6 * eigenvalues.max()
    params = parameters(CORNERS, quality_level=0.3, min_distance=0.0, block_size=2, limit=1000)
    xy, _, _ = unpack_points(corners(picture, params, Grid(2, 2), shi_tomasi_halo(params)))
    expected = cv2.goodFeaturesToTrack(picture, 1000, 0.3, 1e-9, blockSize=2)
    assert len(xy) > 5
    assert sorted(xy.tolist()) == sorted(np.asarray(expected).reshape(-1, 2).tolist())


# --- regions -------------------------------------------------------------------------------------------------


def regions(picture: NDArray[Any], **given_values: Value) -> dict[str, Any]:
    figures = found("mser", picture, **given_values)
    assert isinstance(figures, Figures)
    return figures.values


def test_regions_are_opencv_s_largest_first() -> None:
    picture = gray(astronaut())
    areas, boxes = cv2.MSER.create().detectRegions(picture)
    told = regions(picture, limit=1000)
    assert told["count"] == len(areas) > 300
    assert told["areas"] == sorted((len(area) for area in areas), reverse=True)[:1000]
    expected = sorted([x, y, x + width, y + height] for x, y, width, height in np.asarray(boxes).tolist())
    assert sorted(told["boxes"]) == expected
    assert all(
        left <= x < right and top <= y < bottom
        for (left, top, right, bottom), (x, y) in zip(told["boxes"], told["centroids"], strict=True)
    )
    some = regions(picture, limit=4)
    assert some["boxes"] == told["boxes"][:4]
    assert some["count"] == told["count"]


def test_a_dark_disc_and_a_bright_square_are_stable() -> None:
    picture = np.full((120, 160), 128, np.uint8)
    cv2.circle(picture, (40, 60), 15, 20, -1)
    picture[50:70, 100:130] = 240
    told = regions(picture)
    assert [100, 50, 130, 70] in told["boxes"]
    assert [25, 45, 56, 76] in told["boxes"]
    at = told["boxes"].index([100, 50, 130, 70])
    assert told["areas"][at] == 600
    assert told["centroids"][at] == [114.5, 59.5]


# --- blobs ---------------------------------------------------------------------------------------------------


def spots(background: int, level: int) -> Pixels:
    picture = np.full((150, 200), background, np.uint8)
    for x, y, radius in ((40, 40, 8), (120, 50, 14), (90, 110, 20)):
        cv2.circle(picture, (x, y), radius, level, -1, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize(("background", "level", "color"), [(230, 30, "dark"), (20, 210, "bright")])
def test_spots_are_found_largest_first_with_their_diameter(background: int, level: int, color: str) -> None:
    xy, response, _ = unpack_points(found("blob", spots(background, level), color=color))
    assert np.allclose(xy, [[90, 110], [120, 50], [40, 40]], atol=0.5)
    assert np.allclose(response, [40, 28, 16], atol=2.5)
    assert not unpack_points(found("blob", spots(level, background), color=color))[1].size
    assert len(unpack_points(found("blob", spots(background, level), color="any", min_area=400.0))[1]) == 2


def test_blobs_of_coins_are_opencv_s() -> None:
    coins = np.asarray(skimage.data.coins(), np.uint8)  # type: ignore[no-untyped-call]  # no types there
    settings_ = cv2.SimpleBlobDetector.Params()
    settings_.filterByColor = False
    expected = cv2.SimpleBlobDetector.create(settings_).detect(coins)
    xy, response, _ = unpack_points(found("blob", coins, color="any"))
    assert len(expected) > 5
    assert sorted(xy.tolist()) == sorted([*point.pt] for point in expected)
    assert sorted(response.tolist()) == sorted(np.float32(point.size).item() for point in expected)


@settings(max_examples=25)
@pytest.mark.parametrize("name", ["mser", "blob"])
@given(cuts(), st.booleans())
def test_any_frame_is_taken(name: str, case: Cut, swapped: bool) -> None:
    limits: dict[str, Value] = {"min_area": 900, "max_area": 1} if swapped else {"min_area": 1, "max_area": 10_000}
    result = found(name, case.pixels, limit=3, **limits)
    if isinstance(result, Figures):
        assert len(result.values["areas"]) == min(3, result.values["count"])
    else:
        assert len(unpack_points(result)[1]) <= 3


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("pixels", [np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.float32)])
def test_other_pixels_than_grey_are_refused(name: str, pixels: NDArray[Any]) -> None:
    with pytest.raises(BadPixels, match="expected"):
        found(name, pixels)
