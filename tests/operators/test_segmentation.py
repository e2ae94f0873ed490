from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.feature
import skimage.measure
import skimage.segmentation
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.aggregator.merging import merge_step
from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Figures, Grid, Histogram, Pixels
from streamproc.operators.pixels import gray
from streamproc.operators.segmentation import (
    ROWS,
    connected_components,
    grabcut,
    kmeans,
    kmeans_clusters,
    watershed,
)
from streamproc.operators.table import Measure, Operator, Params, Window
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts

DEFAULTS: dict[str, Params] = {row.name: row.defaults() for row in ROWS}
COMPONENTS, WATERSHED, GRABCUT, KMEANS = (
    DEFAULTS[name] for name in ("connected_components", "watershed", "grabcut", "kmeans")
)


def whole(picture: Pixels) -> Window:
    return split(picture, Grid(1, 1), 0)[0]


def iou(first: list[int], second: list[int]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


# --- connected components -----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(cuts(), st.sampled_from([4, 8]), st.integers(1, 12), st.integers(0, 10))
def test_components_are_those_of_scikit_image(case: Cut, connectivity: int, least: int, limit: int) -> None:
    picture = np.where(case.pixels > 120, np.uint8(255), np.uint8(0))
    params = {"connectivity": connectivity, "min_area": least, "limit": limit}
    found = connected_components(whole(picture), params).values
    labels = skimage.measure.label(picture > 0, connectivity=connectivity // 4)  # type: ignore[no-untyped-call]  # no types there
    every = skimage.measure.regionprops(labels)  # type: ignore[no-untyped-call]  # no types there
    regions = [region for region in every if region.area >= least]
    regions.sort(key=lambda region: (-region.area, region.bbox[0], region.bbox[1]))
    assert found["count"] == len(regions)
    assert found["share"] == pytest.approx(np.count_nonzero(picture) / picture.size, abs=1e-8)
    assert found["areas"] == [round(region.area) for region in regions[:limit]]
    boxes = [(x1, y1, x2, y2) for y1, x1, y2, x2 in (region.bbox for region in regions[:limit])]
    assert sorted(map(tuple, found["boxes"])) == sorted(boxes)
    middles = sorted((round(x, 2), round(y, 2)) for y, x in (region.centroid for region in regions[:limit]))
    if limit >= len(regions):
        assert np.allclose(sorted((round(x, 2), round(y, 2)) for x, y in found["centroids"]), middles, atol=0.02)


def test_components_are_told_largest_first_with_their_places() -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[2:5, 50:54] = 255
    picture[10:30, 5:25] = 1
    found = connected_components(whole(picture), COMPONENTS).values
    assert found == {
        "count": 2,
        "areas": [400, 12],
        "boxes": [[5, 10, 25, 30], [50, 2, 54, 5]],
        "centroids": [[14.5, 19.5], [51.5, 3.0]],
        "share": round(412 / 2400, 9),
    }


def test_corners_join_components_by_choice() -> None:
    picture = np.eye(9, dtype=np.uint8) * 255
    counts = [
        connected_components(whole(picture), {**COMPONENTS, "connectivity": neighbours}).values["count"]
        for neighbours in (4, 8)
    ]
    assert counts == [9, 1]


# --- watershed ----------------------------------------------------------------------------------------------------


def discs(*middles: tuple[int, int, int]) -> Pixels:
    picture = np.full((120, 160), 40, np.uint8)
    for x, y, radius in middles:
        cv2.circle(picture, (x, y), radius, 210, -1)
    return picture


def test_discs_that_touch_are_taken_apart() -> None:
    touching = discs((40, 60, 22), (76, 60, 22), (130, 30, 15))
    joined = connected_components(whole((touching > 128).astype(np.uint8)), COMPONENTS).values["count"]
    found = watershed(whole(touching), WATERSHED).values
    assert (joined, found["count"]) == (2, 3)
    assert 40 <= found["level"] < 210
    middles = sorted(found["centroids"])
    assert np.allclose(middles, [[39, 60], [77, 60], [130, 30]], atol=1)
    assert sorted(found["areas"]) == pytest.approx([707, 1450, 1450], rel=0.03)


def test_dark_discs_are_taken_apart_as_bright_ones_are() -> None:
    picture = discs((40, 60, 22), (76, 60, 22))
    bright, dark = (
        watershed(whole(each), {**WATERSHED, "inverse": inverse}).values
        for each, inverse in ((picture, False), (255 - picture, True))
    )
    assert {**bright, "level": 0} == {**dark, "level": 0}


def test_segments_are_those_of_scikit_image_s_watershed() -> None:
    random = np.random.default_rng(4)
    picture = np.full((300, 400), 30, np.uint8)
    for _ in range(45):
        middle = int(random.integers(20, 380)), int(random.integers(20, 280))
        cv2.circle(picture, middle, int(random.integers(9, 20)), 200, -1)
    mask = picture > 100
    distance = scipy.ndimage.distance_transform_edt(mask)
    options = {"min_distance": 10, "labels": mask.astype(int), "exclude_border": False}
    peaks = skimage.feature.peak_local_max(distance, **options)  # type: ignore[no-untyped-call]  # no types there
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    expected = skimage.segmentation.watershed(-distance, markers, mask=mask)  # type: ignore[no-untyped-call]  # no types there
    found = watershed(whole(picture), {**WATERSHED, "limit": 1000}).values
    assert found["share"] == pytest.approx(np.count_nonzero(expected) / mask.size, abs=1e-8)
    areas = np.sort(np.bincount(expected.ravel())[1:])[::-1]
    assert found["count"] == len(areas)
    assert np.abs(np.array(found["areas"]) - areas).sum() <= 0.05 * areas.sum()


def test_segments_reach_the_border_of_the_frame() -> None:
    picture = np.full((60, 80), 20, np.uint8)
    picture[:30, :40] = 220
    found = watershed(whole(picture), WATERSHED).values
    assert found["boxes"] == [[0, 0, 40, 30]]
    assert found["areas"] == [1200]


def test_coins_are_counted() -> None:
    coins = np.ascontiguousarray(skimage.data.coins())  # type: ignore[no-untyped-call]  # no types there
    lower = coins[80:]  # above, the ground is as bright as the coins
    soft = np.asarray(cv2.GaussianBlur(lower, (0, 0), 2), np.uint8)
    found = watershed(whole(soft), {**WATERSHED, "min_distance": 15, "min_area": 500}).values
    assert found["count"] == 18


# --- GrabCut ------------------------------------------------------------------------------------------------------


def poppy() -> tuple[Pixels, list[int]]:
    random = np.random.default_rng(8)
    picture = np.clip(random.normal((60, 140, 60), 14, (160, 200, 3)), 0, 255).astype(np.uint8)
    cv2.ellipse(picture, (110, 76), (38, 30), 0, 0, 360, (40, 30, 210), -1)
    return picture, [72, 46, 149, 107]


@pytest.mark.parametrize(("scale", "least"), [(1, 0.95), (2, 0.92), (4, 0.85)])
def test_what_differs_in_colour_from_what_is_around_is_foreground(scale: int, least: float) -> None:
    picture, box = poppy()
    found = grabcut(whole(picture), {**GRABCUT, "scale": scale}).values
    assert iou(found["box"], box) > least
    assert found["share"] == pytest.approx(np.pi * 38 * 30 / picture[:, :, 0].size, rel=0.1)


def test_grabcut_gives_one_answer_whatever_ran_before_and_in_any_thread() -> None:
    # A cup on a table of its own colour: other random numbers cut out 501 to 1697 pixels of it.
    coffee = skimage.data.coffee()[:, :, ::-1]  # type: ignore[no-untyped-call]  # no types there
    picture = np.asarray(cv2.resize(np.ascontiguousarray(coffee), (128, 96)), np.uint8)
    params = {**GRABCUT, "scale": 1, "iterations": 1}
    first = grabcut(whole(picture), params)
    assert 0 < first.values["share"] < 0.8
    answers: list[Figures] = []

    def again(noise: int) -> None:
        cv2.randu(np.zeros((noise + 1, 7), np.uint8), np.zeros(1), np.full(1, 255.0))
        answers.append(grabcut(whole(picture), params))

    threads = [threading.Thread(target=again, args=(noise,)) for noise in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [first] * 6


def test_grabcut_of_grey_finds_a_bright_thing() -> None:
    picture, box = poppy()
    found = grabcut(whole(np.ascontiguousarray(picture[:, :, 2])), {**GRABCUT, "scale": 1}).values
    assert iou(found["box"], box) > 0.9


@pytest.mark.parametrize(
    "corners", [(0.0, 0.0, 1.0, 1.0), (0.5, 0.2, 0.5, 0.8), (0.0, 0.0, 0.01, 0.01)], ids=["all", "line", "corner"]
)
def test_a_rectangle_that_leaves_nothing_inside_or_outside_has_no_foreground(corners: tuple[float, ...]) -> None:
    params = {**GRABCUT, **dict(zip(("left", "top", "right", "bottom"), corners, strict=True)), "scale": 1}
    assert grabcut(whole(poppy()[0]), params).values == {"share": 0.0, "box": []}


# --- k-means ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(cuts(channels=(1, 3)))
def test_the_cells_of_tiles_are_those_of_the_frame(case: Cut) -> None:
    once = kmeans(whole(case.pixels), {})
    assert sum(once.counts[0]) == case.width * case.height
    planes = case.pixels.reshape(-1, case.channels).astype(np.int64)
    assert [sum(row) for row in once.counts[1:]] == planes.sum(axis=0).tolist()
    parts = [kmeans(window, {}) for window in split(case.pixels, case.grid, case.extra_halo)]
    assert merge_step(parts, case.width, case.height) == once


def test_painted_colours_are_found_with_their_shares() -> None:
    picture = np.zeros((90, 100, 3), np.uint8)
    picture[:54], picture[54:81], picture[81:] = (200, 30, 20), (10, 180, 90), (250, 250, 250)
    random = np.random.default_rng(2)
    blurred = np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    found = kmeans_clusters(kmeans(whole(blurred), {}), {"k": 3}).values
    assert np.allclose(found["centres"], [(200, 30, 20), (10, 180, 90), (249, 249, 249)], atol=2)
    assert np.allclose(found["shares"], [0.6, 0.3, 0.1], atol=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "retina", "camera"])
@pytest.mark.parametrize("k", [2, 4, 8])
def test_clusters_are_about_as_tight_as_those_of_opencv_over_all_pixels(name: str, k: int) -> None:
    picture = np.ascontiguousarray(getattr(skimage.data, name)()[::3, ::3])
    found = kmeans_clusters(kmeans(whole(picture), {}), {"k": k}).values
    samples = picture.reshape(-1, 1 if picture.ndim == 2 else 3).astype(np.float32)
    cv2.setRNGSeed(3)
    labels = np.zeros((len(samples), 1), np.int32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.1)
    total, _, _ = cv2.kmeans(samples, k, labels, criteria, 3, cv2.KMEANS_PP_CENTERS)
    apart = (samples[:, None, :] - np.array(found["centres"], np.float32)[None]) ** 2
    cost = float(apart.sum(axis=2).min(axis=1).mean())
    assert cost <= 1.08 * total / len(samples)
    assert found["distance"] <= cost**0.5 + 1e-3
    assert sum(found["shares"]) == pytest.approx(1, abs=1e-6)


def test_fewer_colours_than_clusters_are_told_as_they_are() -> None:
    picture = np.array([[0, 0, 0, 255]], np.uint8)
    found = kmeans_clusters(kmeans(whole(picture), {}), {"k": 9}).values
    assert found == {"centres": [[0], [255]], "shares": [0.75, 0.25], "distance": 0.0}
    nothing = kmeans_clusters(Histogram(counts=[[0] * 256] * 2), {"k": 3}).values
    assert nothing["centres"] == []
    with pytest.raises(BadMessage, match="2 or 4 rows"):
        kmeans_clusters(Histogram(counts=[[1]]), {"k": 3})


# --- all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 2), (5, 17), (17, 4)], ids=str)
@pytest.mark.parametrize("kind", ["noise", "flat", "two"])
def test_pictures_of_any_size_have_a_result(operator: Operator, size: tuple[int, int], kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    picture = {"noise": noise, "flat": np.full_like(noise, 77), "two": noise // 128 * 255}[kind]
    pictures = [picture, gray(picture)] if "color" in operator.accepts else [gray(picture)]
    for each in pictures:
        measure: Measure = operator.run  # type: ignore[assignment]  # the kind says so
        found = measure(whole(each), operator.defaults())
        finished = operator.finish(found, operator.defaults()) if operator.finish else found
        assert isinstance(finished, Figures)


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_other_arrays_are_refused(operator: Operator) -> None:
    measure: Measure = operator.run  # type: ignore[assignment]  # the kind says so
    with pytest.raises(BadPixels, match="expected"):
        measure(split(np.zeros((8, 8), np.float32), Grid(1, 1), 0)[0], operator.defaults())


def test_a_flat_picture_has_no_segments() -> None:
    found = watershed(whole(np.full((20, 20), 99, np.uint8)), WATERSHED).values
    assert found == {"count": 0, "areas": [], "boxes": [], "centroids": [], "share": 0.0, "level": 99}
