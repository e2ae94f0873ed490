"""Pictures of a sampled frame: sizes, places of what is drawn, bytes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamproc.model import Grid, Pixels
from streamproc.operators import drawing
from streamproc.report.facts import facts_of
from streamproc.report.pictures import Picture, pictures_of
from streamproc.report.resize import LONGEST_PX, mask_to_page, to_page
from tests.report.making import drawn, sample_of


def decoded(picture: Picture) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (40, 40, 3), (540, 960), (1080, 1920, 3), (4321, 3001, 3), (3, 9000)])
def test_pictures_fit_the_page_and_keep_their_form(shape: tuple[int, ...]) -> None:
    page = to_page(np.full(shape, 77, np.uint8))
    rows, cols = page.shape[:2]
    assert max(rows, cols) <= LONGEST_PX
    assert page.shape[2:] == shape[2:]
    assert (page == 77).all()
    assert abs(rows - shape[0] * cols / shape[1]) <= max(1, shape[0] / shape[1])


def test_reducing_keeps_the_mean() -> None:
    pixels = drawn(1500, 1100)
    assert to_page(pixels).mean() == pytest.approx(pixels.mean(), abs=0.2)


def test_reducing_is_exact_where_opencvs_area_is() -> None:
    pixels = drawn(1920, 960)
    whole = cv2.resize(pixels, (960, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(to_page(pixels).astype(int) - whole).max() <= 1


def test_thin_edges_stay_bright() -> None:
    mask = np.zeros((1600, 1600), np.uint8)
    mask[800] = 255
    mask[:, 333] = 255
    page = mask_to_page(mask)
    assert page.shape == (960, 960)
    assert page.max(axis=0).min() > 100
    assert page.max(axis=1).min() > 100


def test_missing_tiles_are_crossed_out() -> None:
    pixels = np.full((400, 400, 3), 128, np.uint8)
    sample = sample_of(0, pixels, grid=Grid(2, 2), outcome="partial", missing=[(1, 0)], halo=0)
    _, tiles, edges, _ = pictures_of(sample, facts_of(sample.event), most_bytes=400_000)
    found = decoded(tiles).astype(int)
    red = (found[..., 2] - found[..., 0]) > 60
    core = sample.cores[2]
    assert red[core.y : core.bottom, core.x : core.right].mean() > 0.005
    assert not red[: core.y - 2].any()
    assert "1 missing" in tiles.caption
    assert edges.uri == ""
    assert edges.alt == "No edges: the frame is partial."


def test_edges_without_a_picture_are_told() -> None:
    whole = sample_of(0, drawn(64, 64), grid=Grid(1, 1))
    bare = type(whole)(event=whole.event, pixels=whole.pixels, edges=None, cores=whole.cores, halo=2)
    edges = pictures_of(bare, facts_of(bare.event), most_bytes=100_000)[2]
    counted = whole.event["data"]["edges"]["pixels"]
    assert edges.alt == f"No edges: no picture of them was kept; the event counts {counted:,} pixels."


def test_points_and_boxes_lie_where_the_event_says() -> None:
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    box = {"label": "face", "score": 1.0, "box": [1000, 600, 1400, 900], "track": None, "source": "faces"}
    sample = sample_of(0, pixels, grid=Grid(2, 2), objects=[box])
    sample.event["data"]["features"] = {"orb": {"count": 1, "points": [[200.0, 300.0, 1.0]]}}
    features = pictures_of(sample, facts_of(sample.event), most_bytes=400_000)[3]
    found = decoded(features)
    assert found.shape == (540, 960, 3)
    assert found[140:161, 90:111].max() > 100
    assert found[300:450, 499:503].max() > 100
    assert found[170:270, 200:480].max() < 40
    red, green, blue = drawing.POINT[::-1]
    assert features.legend == [(f"rgb({red} {green} {blue})", "orb 1")]


def test_a_picture_that_is_too_large_loses_quality_then_size() -> None:
    rng = np.random.default_rng(3)
    sample = sample_of(0, rng.integers(0, 256, (960, 960, 3)).astype(np.uint8), grid=Grid(2, 2))
    for picture in pictures_of(sample, facts_of(sample.event), most_bytes=60_000):
        assert 0 < len(picture.data) <= 60_000
        assert decoded(picture).shape[:2] == (picture.height, picture.width)


def test_a_sample_without_tiles_is_shown_without_a_grid() -> None:
    sample = sample_of(0, drawn(64, 64), grid=Grid(1, 1))
    bare = type(sample)(event=sample.event, pixels=sample.pixels, edges=sample.edges, cores=(), halo=2)
    assert pictures_of(bare, facts_of(bare.event), most_bytes=100_000)[1].caption == "0 tiles"


def test_points_that_are_not_in_the_event_are_told() -> None:
    sample = sample_of(0, drawn(64, 64), grid=Grid(1, 1))
    sample.event["data"]["features"] = {"orb": {"count": 500, "points": [[2.0, 3.0, 1.0]]}, "sums": {"count": 9}}
    features = pictures_of(sample, facts_of(sample.event), most_bytes=100_000)[3]
    assert [name for _, name in features.legend] == ["orb 500, the strongest 1 drawn"]
