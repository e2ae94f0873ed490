from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from streamproc.errors import BadPixels
from streamproc.model import Boxes, Figures, Grid, Pixels
from streamproc.operators.boxes import unpack_boxes
from streamproc.operators.motion import (
    ROWS,
    background_subtraction,
    frame_difference,
    optical_flow,
    sparse_flow,
)
from streamproc.operators.pixels import gray
from streamproc.operators.table import Follower, Memory, Operator, Params, Scene, Sighting
from streamproc.operators.tiling import split
from tests.operators.pictures import photograph

DEFAULTS: dict[str, Params] = {row.name: row.defaults() for row in ROWS}
BACKGROUND, DIFFERENCE, DENSE, SPARSE = (
    DEFAULTS[name] for name in ("background_subtraction", "frame_difference", "optical_flow", "sparse_flow")
)
SIZE = (320, 240)
SHIFTS = [(0.0, 0.0), (0.5, -0.25), (1.5, 1.0), (-4.25, 2.5), (9.0, -6.0)]


def scene(picture: Pixels, sequence: int) -> Scene:
    window = split(picture, Grid(1, 1), 0)[0]
    return Scene(
        window=window,
        found=None,
        camera="door",
        run="r",
        sequence=sequence,
        captured_ns=0,
        width=window.width,
        height=window.height,
    )


def follow(run: Follower, pictures: list[Pixels], params: Params, memory: Memory | None = None) -> list[Sighting]:
    known: Memory = {} if memory is None else memory
    return [run(scene(picture, number), known, params) for number, picture in enumerate(pictures)]


def figures(sighting: Sighting) -> dict[str, Any]:
    assert isinstance(sighting.result, Figures)
    return sighting.result.values


def boxes(sighting: Sighting) -> tuple[list[list[float]], list[float]]:
    assert isinstance(sighting.result, Boxes)
    assert sighting.result.label == "moving"
    corners, scores = unpack_boxes(sighting.result)
    return corners.tolist(), scores.tolist()


def iou(first: list[float], second: list[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def shifted(picture: Pixels, dx: float, dy: float) -> Pixels:
    """What a camera sees of a larger picture when all in it has moved by `dx`, `dy`."""
    move = np.array([[1, 0, dx - 100], [0, 1, dy - 100]], np.float64)
    return np.asarray(cv2.warpAffine(picture, move, SIZE, flags=cv2.INTER_CUBIC), np.uint8)


def watched(still: int, moving: int, noise: float = 2.0) -> tuple[list[Pixels], list[list[float]]]:
    """Pictures of a still scene, with noise; at last a square moves through. And where the square is."""
    random = np.random.default_rng(1)
    ground = photograph(*SIZE)
    pictures: list[Pixels] = []
    truth: list[list[float]] = []
    for number in range(still + moving):
        picture = ground.copy()
        x, y = 20 + 6 * max(0, number - still), 60 + 4 * max(0, number - still)
        if number >= still:
            picture[y : y + 50, x : x + 50] = (250, 240, 10)
        pictures.append(np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8))
        truth.append([x, y, x + 50, y + 50])
    return pictures, truth


# --- regions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("colour", [True, False])
def test_a_square_that_moves_in_front_of_a_background_is_found(scale: int, colour: bool) -> None:
    pictures, truth = watched(60, 15)
    if not colour:
        pictures = [gray(picture) for picture in pictures]
    seen = follow(background_subtraction, pictures, {**BACKGROUND, "scale": scale, "shadows": colour})
    for sighting, box in list(zip(seen, truth, strict=True))[60:]:
        (found,), (share,) = boxes(sighting)
        assert iou(found, box) > 0.75
        assert share == pytest.approx(50 * 50 / (SIZE[0] * SIZE[1]), rel=0.25)


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_a_square_that_has_moved_a_little_differs_from_the_frame_before_where_it_was_and_is(shift: int) -> None:
    ground = np.full((240, 320), 90, np.uint8)
    checks = (np.indices((48, 48)).sum(axis=0) % 2 * 160 + 40).astype(np.uint8)
    pictures, truth = [], []
    for number in range(6):
        picture, x = ground.copy(), 40 + 2 * shift * number
        picture[100:148, x : x + 48] = np.asarray(cv2.resize(checks[:12, :12], (48, 48), interpolation=0))
        pictures.append(picture)
        truth.append([x, 100, x + 48, 148])
    seen = follow(frame_difference, pictures, {**DIFFERENCE, "scale": 1, "ksize": 1, "min_area": 10})
    assert seen[0].result is None
    for number in range(1, 6):
        corners, shares = boxes(seen[number])
        around = [*np.min(corners, axis=0)[:2].tolist(), *np.max(corners, axis=0)[2:].tolist()]
        assert around == [truth[number - 1][0], 100, truth[number][2], 148]
        changed = np.count_nonzero(cv2.absdiff(pictures[number], pictures[number - 1]) > DIFFERENCE["level"])
        assert sum(shares) == pytest.approx(changed / pictures[0].size, rel=1e-5)


def test_the_frame_difference_of_a_moving_square_is_its_box() -> None:
    pictures, truth = watched(4, 8, noise=1.0)
    for number, sighting in enumerate(follow(frame_difference, pictures, {**DIFFERENCE, "scale": 1, "ksize": 3})):
        if number > 4:
            corners, _ = boxes(sighting)
            around = [*np.min(corners, axis=0)[:2].tolist(), *np.max(corners, axis=0)[2:].tolist()]
            assert iou(around, truth[number]) > 0.7


@pytest.mark.parametrize("run", [background_subtraction, frame_difference])
def test_nothing_moves_in_a_still_scene_with_noise(run: Follower) -> None:
    pictures, _ = watched(45, 0)
    for sighting in follow(run, pictures, {**BACKGROUND, **DIFFERENCE})[31:]:
        assert boxes(sighting) == ([], [])


def test_there_is_no_result_while_the_background_is_learned() -> None:
    pictures, _ = watched(8, 0)
    seen = follow(background_subtraction, pictures, {**BACKGROUND, "learn": 5})
    assert [sighting.result is None for sighting in seen] == [True] * 5 + [False] * 3


def test_what_stays_becomes_background() -> None:
    pictures = [np.full((96, 96), 60, np.uint8) for _ in range(40)]
    late = pictures[0].copy()
    late[30:60, 30:60] = 200
    seen = follow(background_subtraction, [*pictures, *[late] * 80], {**BACKGROUND, "history": 30, "scale": 1})
    assert boxes(seen[40])[0] == [[30, 30, 60, 60]]
    assert boxes(seen[-1])[0] == []


def test_shadows_are_left_out_by_choice() -> None:
    lit = photograph(160, 120)
    dark = lit.copy()
    dark[20:100, 40:120] = (dark[20:100, 40:120] * 0.7).astype(np.uint8)
    area = []
    for shadows in (True, False):
        seen = follow(background_subtraction, [*[lit] * 40, dark], {**BACKGROUND, "shadows": shadows, "scale": 1})
        area.append(sum(boxes(seen[-1])[1]))
    assert area[1] > 0.15
    assert area[0] < area[1] / 3


def test_small_regions_and_more_than_the_limit_are_not_told() -> None:
    first, second = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    second[10:14, 10:14] = second[30:40, 30:40] = second[60:80, 60:80] = 200
    params = {**DIFFERENCE, "scale": 1, "ksize": 1}
    for change, expected in (
        ({"min_area": 1}, [[60, 60, 80, 80], [30, 30, 40, 40], [10, 10, 14, 14]]),
        ({"min_area": 17}, [[60, 60, 80, 80], [30, 30, 40, 40]]),
        ({"min_area": 1, "limit": 1}, [[60, 60, 80, 80]]),
    ):
        assert boxes(follow(frame_difference, [first, second], {**params, **change})[1])[0] == expected


def test_boxes_end_at_the_frame_s_border() -> None:
    first, second = np.zeros((101, 131), np.uint8), np.zeros((101, 131), np.uint8)
    second[80:, 100:] = 255
    seen = follow(frame_difference, [first, second], {**DIFFERENCE, "scale": 8, "ksize": 1})
    assert boxes(seen[1])[0] == [[96, 80, 131, 101]]


# --- flow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "dy"), SHIFTS)
@pytest.mark.parametrize("scale", [1, 2])
def test_corners_of_a_moved_photograph_have_moved_as_far(dx: float, dy: float, scale: int) -> None:
    picture = gray(photograph(700, 560))
    pictures = [shifted(picture, 0, 0), shifted(picture, dx, dy)]
    found = figures(follow(sparse_flow, pictures, {**SPARSE, "scale": scale})[1])
    assert (found["dx"], found["dy"]) == pytest.approx((dx, dy), abs=0.2)
    assert found["mean"] == pytest.approx(np.hypot(dx, dy), abs=0.2)
    assert found["spread"] < 0.1
    assert found["tracked"] > 0.75
    assert found["corners"] > 50
    assert found["frames"] == 1


@pytest.mark.parametrize(("dx", "dy"), SHIFTS)
@pytest.mark.parametrize("scale", [1, 2])
def test_pixels_of_a_moved_texture_have_moved_as_far(dx: float, dy: float, scale: int) -> None:
    random = np.random.default_rng(6)
    noise = random.integers(0, 256, (440, 520), np.uint8)
    picture = np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX), np.uint8)  # type: ignore[call-overload]
    pictures = [shifted(picture, 0, 0), shifted(picture, dx, dy)]
    found = figures(follow(optical_flow, pictures, {**DENSE, "scale": scale})[1])
    assert (found["dx"], found["dy"]) == pytest.approx((dx, dy), abs=0.2)
    far = float(np.hypot(dx, dy))
    assert found["mean"] == pytest.approx(far, abs=0.4)
    if far > 1.5:
        assert found["moving"] > 0.9
        off = found["direction_deg"] - np.degrees(np.arctan2(dy, dx))
        assert (off + 180) % 360 - 180 == pytest.approx(0, abs=3)
        assert found["direction_strength"] > 0.95


def test_a_thing_that_moves_alone_has_a_share_and_a_direction() -> None:
    ground = gray(photograph(320, 240))
    thing = gray(photograph(700, 560))[200:280, 300:380]
    pictures = []
    for number in range(2):
        picture = ground.copy()
        picture[80:160, 100 - 4 * number : 180 - 4 * number] = thing
        pictures.append(picture)
    found = figures(follow(optical_flow, pictures, {**DENSE, "scale": 1})[1])
    assert found["dx"] == pytest.approx(0, abs=0.05)
    assert found["moving"] == pytest.approx(80 * 80 / (320 * 240), rel=0.35)
    assert found["direction_deg"] == pytest.approx(180, abs=15)
    assert found["p95"] == pytest.approx(4, abs=0.8)


@pytest.mark.parametrize("run", [optical_flow, sparse_flow])
def test_nothing_has_moved_in_a_still_scene(run: Follower) -> None:
    picture = gray(photograph(200, 160))
    seen = follow(run, [picture] * 3, {**SPARSE, **DENSE, "limit": 200})
    assert seen[0].result is None
    for sighting in seen[1:]:
        found = figures(sighting)
        assert max(abs(found[name]) for name in ("dx", "dy", "mean", "p95")) < 0.02
        assert found.get("moving", 0) == found.get("spread", 0) == 0


@pytest.mark.parametrize("run", [optical_flow, sparse_flow])
def test_flow_of_colour_is_flow_of_its_grey_levels(run: Follower) -> None:
    params = {**(DENSE if run is optical_flow else SPARSE), "scale": 1}
    colour = [shifted(photograph(*SIZE), 3 * number, -2 * number) for number in range(2)]
    of_colour, of_grey = (figures(follow(run, seen, params)[1]) for seen in (colour, [gray(one) for one in colour]))
    assert of_colour == of_grey
    assert of_colour["mean"] > 0.1


def test_a_flat_picture_has_no_corners_to_follow() -> None:
    found = figures(follow(sparse_flow, [np.full((60, 80), 90, np.uint8)] * 2, SPARSE)[1])
    assert found["corners"] == found["tracked"] == found["mean"] == 0


def test_another_scene_loses_its_corners() -> None:
    first, second = gray(photograph(200, 160)), gray(photograph(200, 160))[::-1].copy()
    assert figures(follow(sparse_flow, [first, second], SPARSE)[1])["tracked"] < 0.3


def test_missing_frames_are_told_and_the_last_seen_one_counts() -> None:
    picture = gray(photograph(700, 560))
    memory: Memory = {}
    for number, sequence in enumerate((3, 4, 9)):
        sighting = sparse_flow(scene(shifted(picture, 2 * number, 0), sequence), memory, SPARSE)
    found = figures(sighting)
    assert found["frames"] == 5
    assert found["dx"] == pytest.approx(2, abs=0.1)


# --- all ----------------------------------------------------------------------------------------------------------


def follower(operator: Operator) -> Follower:
    return operator.run  # type: ignore[return-value]  # the kind says so


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_another_size_begins_anew(operator: Operator) -> None:
    run, params = follower(operator), {**operator.defaults(), **({"learn": 1} if operator.name[0] == "b" else {})}
    memory: Memory = {}
    large, small = gray(photograph(120, 90)), gray(photograph(90, 120))
    told = [
        run(scene(picture, number), memory, params).result is not None
        for number, picture in enumerate((large, large, small, small, large, large))
    ]
    assert told == [False, True] * 3


@pytest.mark.parametrize(
    "operator", [row for row in ROWS if "color" in row.accepts], ids=lambda operator: operator.name
)
def test_colour_after_grey_begins_anew(operator: Operator) -> None:
    memory: Memory = {}
    picture = photograph(64, 64)
    told = [
        follower(operator)(scene(each, number), memory, {**operator.defaults(), "learn": 1}).result
        for number, each in enumerate((gray(picture), gray(picture), picture))
    ]
    assert [result is not None for result in told] == [False, True, False]


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_a_frame_that_did_not_come_whole_is_passed_over(operator: Operator) -> None:
    memory: Memory = {}
    run, picture = follower(operator), gray(photograph(64, 48))
    run(scene(picture, 0), memory, operator.defaults())
    before = dict(memory)
    gone = Scene(window=None, found=None, camera="door", run="r", sequence=1, captured_ns=-5, width=64, height=48)
    assert run(gone, memory, operator.defaults()).result is None
    assert memory == before


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_memory_is_no_larger_after_many_frames(operator: Operator) -> None:
    memory: Memory = {}
    sizes = []
    for number in range(12):
        follower(operator)(scene(gray(photograph(64, 48)), number), memory, operator.defaults())
        sizes.append((sorted(memory), sum(value.nbytes for value in memory.values() if isinstance(value, np.ndarray))))
    assert sizes[2] == sizes[-1]
    assert sizes[-1][1] <= 64 * 48


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_memory_does_not_hold_the_frame_itself(operator: Operator) -> None:
    run, first, second = follower(operator), gray(photograph(96, 64)), gray(photograph(96, 64))
    params = {**operator.defaults(), "scale": 1, **({"learn": 1} if operator.name[0] == "b" else {})}
    memory: Memory = {}
    run(scene(first, 0), memory, params)
    first[:] = 0
    result = run(scene(second, 1), memory, params).result
    if isinstance(result, Boxes):
        assert result.score == b""
    else:
        assert isinstance(result, Figures)
        assert result.values["mean"] < 0.02


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (8, 8), (9, 33)], ids=str)
@pytest.mark.parametrize("scale", [1, 4])
def test_pictures_of_any_size_do_no_harm(operator: Operator, size: tuple[int, int], scale: int) -> None:
    random = np.random.default_rng(3)
    memory: Memory = {}
    params = {**operator.defaults(), "scale": scale, **({"learn": 1} if operator.name[0] == "b" else {})}
    for number in range(4):
        picture = random.integers(0, 256, size, np.uint8)
        sighting = follower(operator)(scene(picture, 3 * number), memory, params)
        flow_too_small = operator.gives is None and min(-(-side // scale) for side in size) < 8
        assert (sighting.result is None) == (number == 0 or flow_too_small)
        assert sighting.occurrences == ()


@pytest.mark.parametrize("operator", ROWS, ids=lambda operator: operator.name)
def test_other_arrays_are_refused(operator: Operator) -> None:
    with pytest.raises(BadPixels, match="expected"):
        follower(operator)(scene(np.zeros((8, 8), np.float32), 0), {}, operator.defaults())
