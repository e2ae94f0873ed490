from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from streamproc.aggregator.merging import detected, merge_boxes
from streamproc.errors import BadPixels
from streamproc.model import DetectedObject, Grid, Pixels
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.pixels import gray
from streamproc.operators.recognisers import MARGIN_PX, faces, people, seam_halo
from streamproc.operators.table import Params
from streamproc.operators.tiling import split
from tests.operators.pictures import astronaut

FACES: Params = OPERATORS["faces"].defaults()
PEOPLE: Params = OPERATORS["people"].defaults()
FACE = (177, 66, 272, 161)  # of the astronaut, by the whole picture


def iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def found_in(picture: Pixels, grid: Grid, params: Params = FACES) -> list[DetectedObject]:
    windows = split(picture, grid, seam_halo(params))
    return detected(merge_boxes([faces(window, params) for window in windows]), "faces")


def test_the_face_of_a_photograph_is_found() -> None:
    (face,) = found_in(gray(astronaut()), Grid(1, 1))
    assert face.label == "face"
    assert face.score >= 5
    assert iou(face.box, FACE) > 0.8


@pytest.mark.parametrize("grid", [Grid(2, 2), Grid(4, 4), Grid(3, 5)], ids=str)
def test_tiles_find_the_face_once(grid: Grid) -> None:
    (face,) = found_in(gray(astronaut()), grid)
    assert iou(face.box, FACE) > 0.7


@pytest.mark.parametrize("shift_px", range(0, 112, 16))
def test_a_face_on_a_seam_is_found_once_wherever_the_seam_goes_through_it(shift_px: int) -> None:
    # Two tiles of 256 px, cut at x = 256; the face, 95 px wide, is moved across the cut.
    left = 161 + shift_px
    picture = np.full((256, 512), 127, np.uint8)
    head = gray(astronaut())[20:230, 130:330]
    picture[20:230, left - 47 : left + 153] = head
    (face,) = found_in(picture, Grid(1, 2))
    assert iou(face.box, (left, 66, left + 95, 161)) > 0.7


def test_a_face_larger_than_the_seam_size_is_found_inside_one_tile() -> None:
    large = np.asarray(cv2.resize(gray(astronaut()), (1536, 1536)), np.uint8)
    sizes = [face.box[2] - face.box[0] for face in found_in(large, Grid(1, 1), {**FACES, "min_size_px": 150})]
    tiled = [face.box[2] - face.box[0] for face in found_in(large, Grid(1, 2), {**FACES, "min_size_px": 150})]
    assert len([size for size in sizes if size > 200]) == len([size for size in tiled if size > 200]) == 1


def test_the_largest_size_is_a_limit() -> None:
    assert found_in(gray(astronaut()), Grid(1, 1), {**FACES, "max_size_px": 80}) == []


def test_the_halo_shows_an_object_whole_if_its_centre_is_just_outside_the_core() -> None:
    assert seam_halo({"seam_size_px": 96}) == 48 + MARGIN_PX
    assert seam_halo({"seam_size_px": 97}) == 49 + MARGIN_PX
    assert seam_halo({"seam_size_px": 0}) == MARGIN_PX


@pytest.mark.parametrize(("width", "height"), [(1, 1), (39, 200), (16, 16), (63, 300), (300, 127)])
def test_pictures_smaller_than_anything_have_nothing(width: int, height: int) -> None:
    (window,) = split(np.zeros((height, width), np.uint8), Grid(1, 1), 0)
    assert faces(window, FACES).xyxy == b""
    assert people(window, PEOPLE).xyxy == b""


@pytest.mark.parametrize("left_px", range(200, 321, 24))
def test_a_standing_person_is_found_once_across_a_seam(left_px: int) -> None:
    figure = person()
    picture = np.full((352, 640), 170, np.uint8)
    picture[60 : 60 + figure.shape[0], left_px : left_px + figure.shape[1]] = figure
    for grid in (Grid(1, 1), Grid(1, 2), Grid(2, 2)):
        (found,) = found_people(picture, grid)
        assert found.label == "person"
        assert iou(found.box, (left_px, 60, left_px + figure.shape[1], 60 + figure.shape[0])) > 0.6


def person() -> Pixels:
    """The outline of a standing person, 96 x 192 pixels."""
    fine = 8
    picture = np.full((128 * fine, 64 * fine), 170, np.uint8)
    cv2.circle(picture, (32 * fine, 24 * fine), 7 * fine, 60, -1)
    cv2.ellipse(picture, (32 * fine, 50 * fine), (11 * fine, 21 * fine), 0, 0, 360, 60, -1)
    for outline in (
        [(22, 55), (42, 55), (41, 112), (34, 112), (32, 75), (30, 112), (23, 112)],
        [(22, 36), (18, 40), (17, 68), (21, 68), (24, 45)],
        [(42, 36), (46, 40), (47, 68), (43, 68), (40, 45)],
    ):
        cv2.fillPoly(picture, [np.array(outline, np.int32) * fine], 60)
    return np.asarray(cv2.resize(picture, (96, 192), interpolation=cv2.INTER_AREA), np.uint8)


def found_people(picture: Pixels, grid: Grid) -> list[DetectedObject]:
    windows = split(picture, grid, seam_halo(PEOPLE))
    return detected(merge_boxes([people(window, PEOPLE) for window in windows]), "people")


def test_colour_and_grey_are_taken_for_people_and_grey_alone_for_faces() -> None:
    (window,) = split(astronaut(), Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        faces(window, FACES)
    with pytest.raises(BadPixels, match="expected"):
        people(split(np.zeros((200, 200), np.float32), Grid(1, 1), 0)[0], PEOPLE)


def test_threads_do_not_share_detectors() -> None:
    picture = gray(astronaut())
    expected = found_in(picture, Grid(1, 1))
    results: list[list[DetectedObject]] = []
    threads = [threading.Thread(target=lambda: results.append(found_in(picture, Grid(1, 1)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results == [expected] * 4
