from __future__ import annotations

import numpy as np
import pytest

from streamproc.errors import BadPixels
from streamproc.model import DetectedObject, Grid, Pixels, Rect
from streamproc.operators.drawing import (
    EDGE,
    MISSING,
    POINT,
    UNKNOWN_GRAY,
    draw_boxes,
    draw_edges,
    draw_grid,
    draw_points,
    in_colour,
    overlay_edges,
    stitch,
)
from streamproc.operators.points import pack_points
from streamproc.operators.tiling import cut
from tests.operators.pictures import astronaut

GREY: Pixels = np.full((60, 80), 90, np.uint8)


def test_stitching_paints_cores_and_leaves_missing_ones_dark() -> None:
    cores = cut(80, 60, Grid(2, 2))
    parts = [(core, GREY[core.y : core.bottom, core.x : core.right]) for core in cores[:3]]
    frame = stitch(parts, 80, 60)
    assert frame.shape == (60, 80, 3)
    assert (frame[0, 0] == 90).all()
    assert (frame[59, 79] == UNKNOWN_GRAY).all()
    for bad in ((Rect(0, 0, 80, 60), GREY[:5]), (Rect(16, 0, 80, 60), GREY)):
        with pytest.raises(BadPixels, match="do not fill"):
            stitch([bad], 80, 60)


@pytest.mark.parametrize("pixels", [GREY, in_colour(GREY), astronaut(), GREY[:1, :1]], ids=lambda p: str(p.shape))
def test_drawing_gives_a_new_colour_picture_of_the_same_size(pixels: Pixels) -> None:
    before = pixels.copy()
    height, width = pixels.shape[:2]
    item = DetectedObject(label="fac\u00e9", score=0.5, box=(-5.0, -3.0, 40.4, 1e4), track="t1", source="faces")
    points = pack_points(np.array([[3.0, 4.0], [1e6, -1e6]]), np.ones(2), limit=0)
    pictures = [
        draw_grid(pixels, cut(width, height, Grid(1, 1)), [Rect(0, 0, width, height)]),
        draw_boxes(pixels, [item]),
        draw_points(pixels, points),
        overlay_edges(pixels, np.ones((height, width), np.uint8)),
    ]
    for picture in pictures:
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert not np.shares_memory(picture, pixels)
    assert np.array_equal(pixels, before)


def test_what_is_drawn_can_be_seen() -> None:
    edges = np.zeros((60, 80), np.uint8)
    edges[10, 20] = 255
    over = overlay_edges(GREY, edges)
    assert tuple(over[10, 20]) == EDGE
    assert (over[0, 0] == 54).all()
    assert draw_edges(edges // 255).sum() == 3 * 255
    assert (draw_grid(GREY, [], [Rect(0, 0, 80, 60)]) == MISSING).all(axis=2).any()
    points = draw_points(GREY, pack_points(np.array([[40.0, 30.0]]), np.ones(1), limit=0))
    assert (points != 90).any(axis=2).sum() >= 8
    assert np.abs(points.astype(int) - POINT).sum(axis=2).min() < 60


def test_edges_of_another_size_are_refused() -> None:
    with pytest.raises(BadPixels, match="do not fit"):
        overlay_edges(GREY, np.zeros((60, 81), np.uint8))
    with pytest.raises(BadPixels, match="expected"):
        draw_edges(np.zeros((4, 4, 3), np.uint8))
