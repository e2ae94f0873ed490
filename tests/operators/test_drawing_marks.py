"""Marks, paths and captions over pictures."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.model import Pixels
from streamproc.operators.drawing import (
    GROUND,
    INK,
    Mark,
    caption,
    caption_px,
    colour_of,
    dimmed,
    draw_marks,
    draw_paths,
    fit,
)

RED, GREEN = (0, 0, 255), (0, 255, 0)
GREY: Pixels = np.full((60, 80), 90, np.uint8)


def test_marks_are_drawn_in_their_colours_and_order_wherever_they_lie() -> None:
    marks = [
        Mark(box=(10, 20, 40, 50), words="", colour=RED),
        Mark(box=(10, 20, 40, 50), words="", colour=GREEN),
        Mark(box=(-1e18, -1e18, 1e18, 1e18), words="far", colour=RED, line_px=2),
    ]
    picture = draw_marks(GREY, marks)
    assert tuple(picture[20, 25]) == tuple(picture[50, 25]) == GREEN
    assert tuple(picture[35, 25]) == (90, 90, 90)


def test_words_stand_above_a_box_or_below_it() -> None:
    for below, band in ((False, slice(15, 30)), (True, slice(31, 50))):
        mark = Mark(box=(5, 30, 60, 31), words="I", colour=RED, below=below)
        picture = draw_marks(GREY, [mark])
        rows = np.flatnonzero((picture == RED).all(axis=2).any(axis=1))
        assert ((rows >= band.start) & (rows < band.stop)).sum() > 8
        other = slice(33, 60) if not below else slice(0, 29)
        assert not ((rows >= other.start) & (rows < other.stop)).any()


def test_paths_go_from_point_to_point() -> None:
    picture = draw_paths(GREY, [(GREEN, [(5.0, 5.0), (5.0, 50.0), (70.0, 50.0)])])
    assert (picture[20, 5] != 90).any()
    assert (picture[50, 40] != 90).any()
    assert (picture[5:45, 20:] == 90).all()


@pytest.mark.parametrize(("width", "height"), [(160, 120), (40, 30), (200, 60), (33, 90)])
def test_a_picture_is_fitted_without_distortion(width: int, height: int) -> None:
    picture = fit(GREY, width, height)
    assert picture.shape == (height, width, 3)
    inside = (picture == 90).all(axis=2)
    rows, cols = np.flatnonzero(inside.any(axis=1)).size, np.flatnonzero(inside.any(axis=0)).size
    assert abs(rows * 80 - cols * 60) <= 80
    assert rows == height or cols == width
    assert (picture[~inside] == GROUND).all()


def test_a_caption_adds_its_lines_below_however_long_they_are() -> None:
    picture = caption(GREY.repeat(4, axis=1), ["short", "long " * 200])
    assert picture.shape == (60 + caption_px(320, 2), 320, 3)
    assert (picture[:60] == 90).all()
    assert (np.abs(picture[60:].astype(int) - INK).sum(axis=2) < 60).any()
    assert not (np.abs(dimmed(picture).astype(int) - INK).sum(axis=2) < 60).any()


def test_a_name_has_one_colour() -> None:
    assert colour_of("person") == colour_of("person")
    assert len({colour_of(str(number)) for number in range(50)}) == 5
