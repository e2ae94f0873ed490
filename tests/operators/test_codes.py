from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from streamproc.errors import BadPixels
from streamproc.model import Boxes, Grid, Pixels
from streamproc.operators.boxes import MAX_LABEL, box_labels, merged_boxes, unpack_boxes
from streamproc.operators.codes import MARGIN_PX, ROWS, code_halo, printable, qr_codes
from streamproc.operators.pixels import gray
from streamproc.operators.table import Params
from streamproc.operators.tiling import split
from tests.operators.pictures import astronaut

(ROW,) = ROWS
DEFAULTS: Params = ROW.defaults()
GRIDS = [Grid(1, 1), Grid(2, 2), Grid(3, 3), Grid(2, 4)]


def code(text: str, module_px: int = 3) -> Pixels:
    """A code with the quiet zone around it that the standard asks for."""
    picture = cv2.resize(
        cv2.QRCodeEncoder.create().encode(text), None, fx=module_px, fy=module_px, interpolation=cv2.INTER_NEAREST
    )
    edge = 2 * module_px  # the encoder draws 2 modules of the 4
    return np.asarray(cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=255), np.uint8)


def with_codes(*placed: tuple[str, int, int]) -> Pixels:
    """A photograph of 640 x 512 pixels with codes on it."""
    picture = np.ascontiguousarray(cv2.resize(gray(astronaut()), (640, 512)))
    for text, x, y in placed:
        drawn = code(text)
        picture[y : y + drawn.shape[0], x : x + drawn.shape[1]] = drawn
    return np.asarray(picture, np.uint8)


def found_in(picture: Pixels, grid: Grid) -> Boxes:
    return merged_boxes([qr_codes(window, DEFAULTS) for window in split(picture, grid, code_halo(DEFAULTS))])


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_each_code_is_read_once_and_lies_where_it_was_drawn(grid: Grid) -> None:
    drawn = {"left": (20, 300), "on the seams": (275, 210), "right": (540, 20)}
    found = found_in(with_codes(*((text, *place) for text, place in drawn.items())), grid)
    corners, scores = unpack_boxes(found)
    assert sorted(box_labels(found)) == sorted(drawn)
    assert found.label == "qr"
    assert scores.tolist() == [1, 1, 1]
    for text, box in zip(box_labels(found), corners.tolist(), strict=True):
        x, y = drawn[text]
        side = code(text).shape[0]
        quiet = 4 * 3
        assert np.abs(np.array(box) - (x + quiet, y + quiet, x + side - quiet, y + side - quiet)).max() <= 2


@pytest.mark.parametrize("shift_px", range(0, 96, 12))
def test_a_code_is_read_once_wherever_the_seam_goes_through_it(shift_px: int) -> None:
    picture = with_codes(("moved", 230 + shift_px, 160 + shift_px))
    for grid in (Grid(1, 2), Grid(2, 2)):
        assert box_labels(found_in(picture, grid)) == ["moved"]


def test_two_codes_of_one_text_are_two() -> None:
    assert box_labels(found_in(with_codes(("same", 30, 30), ("same", 400, 300)), Grid(2, 2))) == ["same", "same"]


def test_a_photograph_without_codes_has_none() -> None:
    for grid in GRIDS:
        assert found_in(with_codes(), grid).xyxy == b""


def test_labels_are_bounded_and_can_be_printed() -> None:
    assert printable("a\nb\x00c\u202e\U0001f600é") == "a?b?c?\U0001f600é"
    assert len(printable("x" * 3000)) == MAX_LABEL
    picture = with_codes(("two\nlines", 100, 100))
    assert box_labels(found_in(picture, Grid(2, 2))) == ["two?lines"]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (20, 20), (21, 21), (22, 40)])
def test_pictures_too_small_for_a_code_have_none(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 2, size).astype(np.uint8) * 255
    assert found_in(noise, Grid(1, 1)).xyxy == b""


def test_the_halo_shows_a_code_whole_if_its_centre_is_just_outside_the_core() -> None:
    assert code_halo({"seam_size_px": 191}) == 96 + MARGIN_PX
    assert code_halo({"seam_size_px": 0}) == MARGIN_PX


def test_colour_and_floats_are_refused() -> None:
    for picture in (astronaut(), np.zeros((90, 90), np.float32)):
        with pytest.raises(BadPixels, match="expected"):
            qr_codes(split(picture, Grid(1, 1), 0)[0], DEFAULTS)


def test_threads_do_not_share_detectors() -> None:
    picture = with_codes(("a", 30, 30), ("b", 300, 300))
    expected = found_in(picture, Grid(1, 1))
    results: list[Boxes] = []
    threads = [threading.Thread(target=lambda: results.append(found_in(picture, Grid(1, 1)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results == [expected] * 4
