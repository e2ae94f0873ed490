from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import cv2
import cv2.data
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.sources.builtin import BuiltinSource
from streamproc.aggregator.merging import detected
from streamproc.errors import BadPixels
from streamproc.model import Boxes, DetectedObject, Grid, Pixels
from streamproc.operators.boxes import merged_boxes, pack_boxes, unpack_boxes
from streamproc.operators.pixels import gray
from streamproc.operators.pyramid import level_of
from streamproc.operators.recognisers import EYES, FACES, ROWS, face_halo
from streamproc.operators.table import Measure, Operator, Params
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts

BY_NAME = {row.name: row for row in ROWS}
FACE = (177, 66, 272, 161)  # of the astronaut, by the whole picture
GRIDS = [Grid(2, 2), Grid(3, 3), Grid(2, 4)]
PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea", "rocket", "coins", "page", "text", "cell")


def iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def hits_in(row: Operator, picture: Pixels, grid: Grid, params: Params, extra_halo: int = 0) -> Boxes:
    windows = split(picture, grid, row.halo(params) + extra_halo)
    return merged_boxes([cast("Boxes", cast("Measure", row.run)(window, params)) for window in windows])


def boxes_in(name: str, picture: Pixels, grid: Grid, **changes: object) -> Boxes:
    row = BY_NAME[name]
    params = {**row.defaults(), **changes}
    assert row.finish is not None
    return cast("Boxes", row.finish(hits_in(row, picture, grid, params), params))


def found_in(picture: Pixels, grid: Grid, name: str = "faces", **changes: object) -> list[DetectedObject]:
    return detected(boxes_in(name, picture, grid, **changes), name)


def photograph(name: str) -> Pixels:
    picture = np.asarray(getattr(skimage.data, name)(), np.uint8)
    return picture if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, ::-1])


def whole_by_opencv(name: str, picture: Pixels) -> Boxes:
    """What OpenCV's own detector finds in the whole picture."""
    given_params: Params = BY_NAME[name].defaults()
    if name == "people":
        hog = cv2.HOGDescriptor()
        hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
        rects, scores = hog.detectMultiScale(picture, hitThreshold=0.5, winStride=(8, 8), scale=1.05)
    else:
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + {"faces": FACES, "eyes": EYES}[name])
        least = int(given_params["min_size_px"])
        rects, scores = cascade.detectMultiScale2(
            picture,
            scaleFactor=float(given_params["scale_factor"]),
            minNeighbors=int(given_params["min_neighbors"]),
            minSize=(least, least),
        )
    xywh = np.asarray(rects, float).reshape(-1, 4)
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return pack_boxes("", corners, np.asarray(scores, float).reshape(-1), iou=0.4)


def assert_same_objects(first: Boxes, second: Boxes, most_px: float = np.inf) -> None:
    """Each box has its one counterpart with IoU above 0.9, up to a size."""
    one, other = (
        [tuple(box) for box in unpack_boxes(boxes)[0].tolist() if box[3] - box[1] <= most_px]
        for boxes in (first, second)
    )
    assert len(one) == len(other)
    for box in one:
        assert len([match for match in other if iou(box, match) > 0.9]) == 1


@settings(max_examples=40, deadline=None)
@given(case=cuts(channels=(1, 3)), scale=st.floats(1, 9))
def test_a_tile_s_part_of_a_level_is_the_frame_s_level_bit_for_bit(case: Cut, scale: float) -> None:
    width, height = round(case.width / scale), round(case.height / scale)
    for window in split(case.pixels, case.grid, case.extra_halo):
        level = level_of(window, scale)
        if level is None:
            continue
        whole = cv2.resize(case.pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        rows, cols = level.pixels.shape[:2]
        assert np.array_equal(level.pixels, whole[level.y : level.y + rows, level.x : level.x + cols])


@pytest.mark.parametrize(("name", "grid"), list(zip(PHOTOGRAPHS, [*GRIDS] * 3, strict=True)))
def test_tiles_have_the_very_hits_of_the_whole_photograph_up_to_the_seam_size(name: str, grid: Grid) -> None:
    picture = gray(photograph(name))
    for row in (BY_NAME["faces"], BY_NAME["eyes"]):
        if row.name == "eyes" and picture.size > 2**17:
            continue  # takes half a second; the others do
        params = {**row.defaults(), "max_size_px": row.defaults()["seam_size_px"]}
        assert hits_in(row, picture, grid, params, extra_halo=3) == hits_in(row, picture, Grid(1, 1), params)


@pytest.mark.parametrize(("number", "grids"), [(0, GRIDS), (400, GRIDS[:1])])
def test_tiles_find_the_objects_of_the_whole_frame_that_opencv_finds(number: int, grids: list[Grid]) -> None:
    picture = gray(BuiltinSource().frame(number))
    for name in ("faces", "eyes"):
        params: Params = BY_NAME[name].defaults()
        whole = boxes_in(name, picture, Grid(1, 1))
        assert_same_objects(whole, whole_by_opencv(name, picture))
        for grid in grids:
            assert_same_objects(boxes_in(name, picture, grid), whole, float(params["seam_size_px"]))


@pytest.mark.parametrize("name", ["astronaut"])
def test_tiles_find_the_people_of_the_whole_photograph_that_opencv_finds(name: str) -> None:
    picture = photograph(name)
    whole = boxes_in("people", picture, Grid(1, 1))
    assert_same_objects(whole, whole_by_opencv("people", picture))
    for grid in (Grid(2, 2),):
        assert_same_objects(boxes_in("people", picture, grid), whole, 256)


def test_the_face_of_a_photograph_is_found() -> None:
    (face,) = found_in(gray(astronaut()), Grid(1, 1))
    assert face.label == "face"
    assert face.score >= 5
    assert iou(face.box, FACE) > 0.9


@pytest.mark.parametrize("grid", [Grid(4, 4), Grid(3, 5)], ids=str)
def test_tiles_find_the_face_and_the_eyes_as_the_whole_photograph_has_them(grid: Grid) -> None:
    for name in ("faces", "eyes"):
        assert boxes_in(name, gray(astronaut()), grid) == boxes_in(name, gray(astronaut()), Grid(1, 1))


@pytest.mark.parametrize("shift_px", range(0, 112, 16))
def test_a_face_on_a_seam_is_found_once_wherever_the_seam_goes_through_it(shift_px: int) -> None:
    # Two tiles of 256 px, cut at x = 256; the face, 95 px wide, is moved across the cut.
    left = 161 + shift_px
    picture = np.full((256, 512), 127, np.uint8)
    head = gray(astronaut())[20:230, 130:330]
    picture[20:230, left - 47 : left + 153] = head
    (face,) = found_in(picture, Grid(1, 2))
    assert iou(face.box, (left, 66, left + 95, 161)) > 0.9


def test_the_eyes_lie_in_the_face() -> None:
    eyes = [eye.box for eye in found_in(gray(astronaut()), Grid(2, 2), "eyes", min_neighbors=10)]
    assert len(eyes) == 2
    for box in eyes:
        assert box[0] > FACE[0]
        assert box[2] < FACE[2]
        assert box[1] > FACE[1]
        assert (box[1] + box[3]) / 2 < (FACE[1] + FACE[3]) / 2


def test_a_face_larger_than_the_seam_size_is_found_inside_one_tile() -> None:
    large = np.asarray(cv2.resize(gray(astronaut()), (1536, 1536)), np.uint8)
    sizes = [face.box[2] - face.box[0] for face in found_in(large, Grid(1, 1), min_size_px=150)]
    tiled = [face.box[2] - face.box[0] for face in found_in(large, Grid(1, 2), min_size_px=150)]
    assert len([size for size in sizes if size > 200]) == len([size for size in tiled if size > 200]) == 1


def test_the_largest_size_is_a_limit() -> None:
    assert found_in(gray(astronaut()), Grid(1, 1), max_size_px=80) == []


def test_sizes_under_twice_the_smallest_are_tiled_as_well() -> None:
    # There OpenCV steps by two pixels.
    row = BY_NAME["faces"]
    params = {**row.defaults(), "min_size_px": 24, "max_size_px": 60, "scale_factor": 1.1}
    picture = np.asarray(cv2.resize(gray(astronaut()), (150, 150), interpolation=cv2.INTER_AREA), np.uint8)
    whole = hits_in(row, picture, Grid(1, 1), params)
    assert len(whole.score) > 0
    for grid in (*GRIDS, Grid(5, 5)):
        assert hits_in(row, picture, grid, params) == whole


def test_each_hit_is_told_where_none_is_asked_to_have_neighbours() -> None:
    grouped = boxes_in("faces", gray(astronaut()), Grid(2, 2))
    assert len(boxes_in("faces", gray(astronaut()), Grid(2, 2), min_neighbors=0).score) > 5 * len(grouped.score)


def test_the_halo_shows_the_largest_window_of_a_group_whole() -> None:
    assert face_halo({"seam_size_px": 100}) == 60 + 2 * 5 + 2
    assert face_halo({"seam_size_px": 0}) == 2


@pytest.mark.parametrize(("width", "height"), [(1, 1), (39, 200), (16, 16), (63, 300), (300, 127)])
@pytest.mark.parametrize("name", BY_NAME)
def test_pictures_smaller_than_anything_have_nothing(name: str, width: int, height: int) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (height, width), np.uint8)
    for picture in (noise, np.zeros((height, width), np.uint8)):
        assert boxes_in(name, picture, Grid(1, 1)).xyxy == b""


@pytest.mark.parametrize("left_px", [200, 248, 296])
def test_a_standing_person_is_found_once_across_a_seam(left_px: int) -> None:
    figure = person()
    picture = np.full((352, 640), 170, np.uint8)
    picture[60 : 60 + figure.shape[0], left_px : left_px + figure.shape[1]] = figure
    (whole,) = found_in(picture, Grid(1, 1), "people")
    assert whole.label == "person"
    assert iou(whole.box, (left_px, 60, left_px + figure.shape[1], 60 + figure.shape[0])) > 0.6
    for grid in (Grid(2, 2),):
        (tiled,) = found_in(picture, grid, "people")
        assert iou(tiled.box, whole.box) > 0.9
        assert tiled.score == pytest.approx(whole.score, abs=1e-3)


def test_the_score_of_a_person_is_opencv_s() -> None:
    picture = np.full((352, 640), 170, np.uint8)
    picture[60:252, 200:296] = person()
    (found,) = unpack_boxes(boxes_in("people", picture, Grid(2, 2)))[1].tolist()
    (wanted,) = unpack_boxes(whole_by_opencv("people", picture))[1].tolist()
    assert found == pytest.approx(wanted, abs=1e-3)


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


def test_colour_and_grey_are_taken_for_people_and_grey_alone_for_cascades() -> None:
    colour = split(astronaut(), Grid(1, 1), 0)[0]
    floats = split(np.zeros((200, 200), np.float32), Grid(1, 1), 0)[0]
    for name, window in (("faces", colour), ("eyes", colour), ("faces", floats), ("people", floats)):
        row = BY_NAME[name]
        with pytest.raises(BadPixels, match="expected"):
            cast("Measure", row.run)(window, row.defaults())


def test_threads_do_not_share_detectors() -> None:
    picture = gray(astronaut())
    found: Callable[[], list[DetectedObject]] = lambda: found_in(picture, Grid(1, 1))  # noqa: E731 - for the threads
    expected = found()
    results: list[list[DetectedObject]] = []
    threads = [threading.Thread(target=lambda: results.append(found())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results == [expected] * 4
