from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.aggregator.merging import detected, merge_step, summarise, summarise_edges
from streamproc.aggregator.seams import edge_digest, link_packed, unpack
from streamproc.errors import BadMessage
from streamproc.model import Boxes, Grid, Histogram, Points, Rect, Result, Statistics
from streamproc.operators.boxes import pack_boxes
from streamproc.operators.pipeline_file import default_pipeline, parse
from streamproc.operators.pixels import gray
from streamproc.operators.points import pack_points, unpack_points
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts

CHEAP = parse(
    """
    step = [
        {operator = "color_histogram"}, {operator = "statistics"}, {operator = "canny"},
        {operator = "fast"}, {operator = "orb", levels = 2},
    ]
    """
)


def by_step(case: Cut) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {}
    for window in split(case.pixels, case.grid, CHEAP.halo):
        for name, result in CHEAP.run(window, 0).items():
            results.setdefault(name, []).append(result)
    return results


@settings(max_examples=50)
@given(cuts(channels=(1, 3)), st.randoms(use_true_random=False), st.data())
def test_neither_the_order_of_tiles_nor_a_missing_one_confuses(
    case: Cut, order: random.Random, data: st.DataObject
) -> None:
    for results in by_step(case).values():
        some = list(results)
        if len(some) > 1 and data.draw(st.booleans()):
            some.pop()
        shuffled = list(some)
        order.shuffle(shuffled)
        first, second = (merge_step(these, case.width, case.height) for these in (some, shuffled))
        if isinstance(first, np.ndarray):
            assert isinstance(second, np.ndarray)
            assert np.array_equal(first, second)
        else:
            assert first == second
            assert merge_step([first], case.width, case.height) == first


POINTS = pack_points(np.array([[1.0, 2.0], [3.25, 4.0]]), np.array([0.5, 1e-7]), limit=3)
BOXES = pack_boxes("face", np.array([[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.5, 9.0]]), np.array([3.0, 7.0]), iou=0.4)
COUNTS = Histogram(counts=[[1, 2], [3, 0]])
SUMS = Statistics(count=4, total=[10, 1000], squares=[30, 255_000], low=[1, 0], high=[4, 255])


def merged(*results: Result) -> Any:
    return merge_step(results, 64, 64)


def test_points_of_tiles_become_the_strongest_of_the_frame() -> None:
    other = pack_points(np.array([[9.0, 9.0], [8.0, 8.0]]), np.array([0.7, 0.1]), limit=3)
    xy, response, _ = unpack_points(merged(POINTS, other))
    assert xy.tolist() == [[9, 9], [1, 2], [8, 8]]
    assert response.tolist() == np.array([0.7, 0.5, 0.1], np.float32).tolist()


def test_counts_and_sums_add_up() -> None:
    assert merged(COUNTS, COUNTS, COUNTS) == Histogram(counts=[[3, 6], [9, 0]])
    other = Statistics(count=1, total=[0, 9], squares=[0, 81], low=[0, 9], high=[0, 9])
    assert merged(SUMS, other) == Statistics(
        count=5, total=[10, 1009], squares=[30, 255_081], low=[0, 0], high=[4, 255]
    )


def test_boxes_of_one_object_become_one() -> None:
    shifted = pack_boxes("face", np.array([[49.0, 1.0, 59.0, 10.0]]), np.array([9.0]), iou=0.4)
    found = detected(merged(BOXES, shifted), "step")
    assert [(item.box, item.score, item.label, item.source) for item in found] == [
        ((49.0, 1.0, 59.0, 10.0), 9.0, "face", "step"),
        ((0.0, 0.0, 10.0, 10.0), 3.0, "face", "step"),
    ]


@pytest.mark.parametrize(
    "results",
    [
        [],
        [POINTS, BOXES],
        [POINTS, msgspec.structs.replace(POINTS, limit=4)],
        [POINTS, msgspec.structs.replace(POINTS, xy=b"")],
        [BOXES, msgspec.structs.replace(BOXES, label="cat")],
        [COUNTS, Histogram(counts=[[1, 2]])],
        [COUNTS, Histogram(counts=[[1, 2], [3]])],
        [SUMS, msgspec.structs.replace(SUMS, total=[1])],
        [SUMS, msgspec.structs.replace(SUMS, low=[1])],
    ],
    ids=range(9),
)
def test_results_that_do_not_fit_each_other_are_refused(results: list[Result]) -> None:
    with pytest.raises(BadMessage) as refused:
        merge_step(results, 64, 64)
    assert refused.value.reason == "schema"


def test_summaries_are_plain_values() -> None:
    points = summarise(POINTS, points=1)
    assert points["points"] == [[1.0, 2.0, 0.5]]
    assert points["count"] == 2
    assert len(points["digest"]) == 64
    assert summarise(BOXES) == {
        "label": "face",
        "count": 2,
        "boxes": [[50.0, 0.0, 60.5, 9.0, 7.0], [0.0, 0.0, 10.0, 10.0, 3.0]],
        "labels": ["face", "face"],
    }
    assert summarise(COUNTS) == {"bins": 2, "counts": [[1, 2], [3, 0]]}
    assert summarise(SUMS) == {
        "count": 4,
        "mean": [2.5, 250.0],
        "std": [1.118, 35.3553],
        "min": [1, 0],
        "max": [4, 255],
    }
    for value in (POINTS, BOXES, COUNTS, SUMS):
        json.dumps(summarise(value), allow_nan=False)


def test_the_digest_of_points_is_of_all_of_them() -> None:
    fewer = pack_points(np.array([[1.0, 2.0]]), np.array([0.5]), limit=3)
    assert summarise(POINTS, points=1)["digest"] != summarise(fewer, points=1)["digest"]


def test_nothing_found_is_told_too() -> None:
    nothing = np.zeros((0, 4))
    assert summarise(pack_points(nothing[:, :2], nothing[:, 0], limit=1))["points"] == []
    assert summarise(pack_boxes("face", nothing, nothing[:, 0], iou=0.4))["boxes"] == []
    assert detected(pack_boxes("face", nothing, nothing[:, 0], iou=0.4), "faces") == []


def test_edges_are_summed_up() -> None:
    picture = gray(astronaut())[:90, :77]
    windows = split(picture, Grid(2, 2), 64)
    packed = link_packed([default_pipeline().run(window, 1)["edges"] for window in windows], 77, 90)  # type: ignore[misc]
    edges = unpack(packed, 77)
    summary = summarise_edges(packed, 77, "edges")
    assert summary.operator == "edges"
    assert summary.pixels == np.count_nonzero(edges)
    assert summary.density == round(summary.pixels / edges.size, 6)
    assert summary.digest == edge_digest(edges)


def test_statistics_are_numpy_s() -> None:
    picture = astronaut()
    (window,) = split(picture, Grid(1, 1), 0)
    sums = CHEAP.run(window, 0)["statistics"]
    assert isinstance(sums, Statistics)
    told = summarise(sums)
    assert told["mean"] == [round(float(mean), 4) for mean in picture.reshape(-1, 3).mean(axis=0)]
    assert told["std"] == [round(float(std), 4) for std in picture.reshape(-1, 3).std(axis=0)]


def test_types_are_kept() -> None:
    for result, kind in ((POINTS, Points), (BOXES, Boxes), (COUNTS, Histogram), (SUMS, Statistics)):
        assert isinstance(merged(result), kind)
    assert Rect(0, 0, 1, 1).area == 1
