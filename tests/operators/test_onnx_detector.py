"""Models are built here: networks that find bright red, green and blue squares by pooling, in each layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Boxes, Grid, Pixels
from streamproc.operators.boxes import box_labels, merged_boxes, unpack_boxes
from streamproc.operators.onnx_detector import (
    MARGIN_PX,
    ROWS,
    check_onnx,
    check_yunet,
    decode,
    object_halo,
    onnx_detector,
    yunet,
    yunet_faces,
)
from streamproc.operators.onnx_models import input_size, letterbox, open_model
from streamproc.operators.table import Params
from streamproc.operators.tiling import split

onnx = pytest.importorskip("onnx")
BY_NAME = {row.name: row for row in ROWS}
SIDE, STRIDE, SQUARE = 160, 4, 24
CELLS = SIDE // STRIDE
RED, GREEN, BLUE = (0, 0, 250), (0, 250, 0), (250, 0, 0)


def constant(name: str, values: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def squares_model(path: Path, layout: str, *, dynamic: bool = False) -> Path:
    """A network with one box of 24 pixels for each cell of 4; its scores are the mean colours in the box."""
    make = onnx.helper.make_node
    y, x = np.mgrid[:CELLS, :CELLS].reshape(2, 1, -1).astype(np.float32) * STRIDE + STRIDE / 2
    boxes = np.concatenate([x, y, np.full_like(x, SQUARE), np.full_like(x, SQUARE)])[None].astype(np.float32)
    nodes = [
        make(
            "AveragePool",
            ["picture"],
            ["pooled"],
            kernel_shape=[SQUARE, SQUARE],
            strides=[STRIDE, STRIDE],
            pads=[10, 10, 10, 10],
            count_include_pad=1,
        ),
        make("Reshape", ["pooled", "flat"], ["scores"]),
    ]
    weights = [constant("flat", np.array([1, 3, -1], np.int64))]
    count = CELLS * CELLS
    outputs = {"out": [1, 7, count]}
    if layout == "yolov8":
        nodes.append(make("Concat", ["boxes", "scores"], ["out"], axis=1))
    elif layout == "yolov5":
        weights.append(constant("sure", np.full((1, 1, count), 0.9, np.float32)))
        nodes += [
            make("Concat", ["boxes", "sure", "scores"], ["columns"], axis=1),
            make("Transpose", ["columns"], ["out"], perm=[0, 2, 1]),
        ]
        outputs = {"out": [1, count, 8]}
    else:
        corners = np.concatenate([boxes[:, :2] - SQUARE / 2, boxes[:, :2] + SQUARE / 2], axis=1) / SIDE
        boxes = np.ascontiguousarray(corners.transpose(0, 2, 1)).astype(np.float32)
        nodes += [
            make("Transpose", ["scores"], ["confidences"], perm=[0, 2, 1]),
            make("Identity", ["boxes"], ["places"]),
        ]
        outputs = {"confidences": [1, count, 3], "places": [1, count, 4]}
    weights.append(constant("boxes", boxes))
    size = ["rows", "cols"] if dynamic else [SIDE, SIDE]
    return stored(path, nodes, [1, 3, *size], outputs, weights)


def stored(
    path: Path,
    nodes: list[Any],
    takes: list[Any],
    gives: dict[str, Any],
    weights: list[Any] | None = None,
    kind: int = 1,
) -> Path:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [info("picture", kind, takes)],
        [info(name, kind, shape) for name, shape in gives.items()],
        weights or [],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for layout in ("yolov8", "yolov5", "ssd"):
        squares_model(folder / f"{layout}.onnx", layout)
    (folder / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    return folder


def params(models: Path, layout: str = "yolov8", **changes: object) -> Params:
    given = {**BY_NAME["onnx_detector"].defaults(), "model": str(models / f"{layout}.onnx"), "layout": layout}
    return {
        **given,
        "labels": str(models / "labels.txt"),
        "confidence": 0.7,
        "iou": 0.25,
        "seam_size_px": 64,
        **changes,
    }


def found_in(picture: Pixels, grid: Grid, given: Params) -> Boxes:
    return merged_boxes([onnx_detector(window, given) for window in split(picture, grid, object_halo(given))])


def squares(width: int, height: int, *placed: tuple[tuple[int, int, int], int, int, int]) -> Pixels:
    picture = np.zeros((height, width, 3), np.uint8)
    for colour, x, y, side in placed:
        cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), colour, -1)
    return picture


def overlap(first: list[float], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return float(common / (sum(areas) - common))


@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "ssd"])
def test_each_layout_is_read_with_classes_by_name(models: Path, layout: str) -> None:
    drawn = {"red": (26, 34), "green": (98, 42), "blue": (66, 122)}
    colours = {"red": RED, "green": GREEN, "blue": BLUE}
    picture = squares(SIDE, SIDE, *((colours[name], *place, SQUARE) for name, place in drawn.items()))
    found = found_in(picture, Grid(1, 1), params(models, layout))
    corners, scores = unpack_boxes(found)
    told = {label: tuple(box[:2]) for label, box in zip(box_labels(found), corners.tolist(), strict=True)}
    assert told == drawn
    assert np.allclose(corners[:, 2:] - corners[:, :2], SQUARE)
    assert scores == pytest.approx([250 / 255 * (0.9 if layout == "yolov5" else 1)] * 3, abs=1e-4)


@pytest.mark.parametrize(("width", "height"), [(320, 160), (160, 320), (320, 320), (80, 80), (333, 201)])
def test_boxes_come_back_from_the_letterbox(models: Path, width: int, height: int) -> None:
    scale = min(SIDE / width, SIDE / height)
    side = round(SQUARE / scale)
    x, y = width // 3, height // 2 - side // 3
    found = found_in(squares(width, height, (GREEN, x, y, side)), Grid(1, 1), params(models))
    (box,) = unpack_boxes(found)[0].tolist()
    assert box_labels(found) == ["green"]
    assert overlap(box, (x, y, x + side, y + side)) > 0.6
    assert abs((box[0] + box[2]) / 2 - (x + side / 2)) <= STRIDE / 2 / scale + 1
    assert abs((box[1] + box[3]) / 2 - (y + side / 2)) <= STRIDE / 2 / scale + 1


def test_a_letterbox_keeps_proportions_and_centres() -> None:
    fit = letterbox(200, 100, (160, 160))
    assert (fit.scale, fit.x, fit.y, fit.width, fit.height) == (0.8, 0, 40, 160, 80)
    assert fit.back(np.array([[0.0, 40, 160, 120]])).tolist() == [[0, 0, 200, 100]]
    assert letterbox(10_000, 1, (160, 160)).height == 1


@pytest.mark.parametrize("shift_px", range(0, 80, 8))
def test_an_object_is_found_once_wherever_seams_go_through_it(models: Path, shift_px: int) -> None:
    # Seams at x = 128 and y = 96; a tile is shown at 160 / 176 of its size.
    x, y, side = 84 + shift_px, 60 + shift_px // 2, 27
    picture = squares(256, 192, (RED, x, y, side), (BLUE, 20, 150, side))
    found = found_in(picture, Grid(2, 2), params(models))
    assert sorted(box_labels(found)) == ["blue", "red"]
    boxes = dict(zip(box_labels(found), unpack_boxes(found)[0].tolist(), strict=True))
    assert overlap(boxes["red"], (x, y, x + side, y + side)) > 0.6


def extents_model(path: Path, width: int, height: int) -> Path:
    """A network that tells, of red, green and blue each, the box around all its pixels, in the form of YOLO v8."""
    make = onnx.helper.make_node
    x, y = (
        np.arange(width, dtype=np.float32).reshape(1, 1, 1, -1),
        np.arange(height, dtype=np.float32).reshape(1, 1, -1, 1),
    )
    own = (2 * np.eye(3, dtype=np.float32) - 1).reshape(3, 3, 1, 1)
    weights = [constant("own", own), constant("half", np.float32(0.5)), constant("row", np.array([1, 1, 3], np.int64))]
    weights += [constant("each", np.eye(3, dtype=np.float32)[None])]
    nodes = [make("Conv", ["picture", "own"], ["purity"]), make("Greater", ["purity", "half"], ["pure"])]
    nodes += [make("Cast", ["pure"], ["mask"], to=1), make("ReduceMax", ["mask"], ["any"], axes=[2, 3])]
    for name, size, places in (("x", width, x), ("y", height, y)):
        weights += [constant(f"{name}-to", places + 1), constant(f"{name}-from", size - places)]
        weights += [constant(f"{name}-size", np.float32(size))]
        for end in ("to", "from"):
            nodes += [make("Mul", ["mask", f"{name}-{end}"], [f"{name}-{end}-all"])]
            nodes += [make("ReduceMax", [f"{name}-{end}-all"], [f"{name}-{end}-most"], axes=[2, 3])]
        nodes += [make("Sub", [f"{name}-size", f"{name}-from-most"], [f"{name}-first"])]
        nodes += [make("Add", [f"{name}-first", f"{name}-to-most"], [f"{name}-sum"])]
        nodes += [make("Mul", [f"{name}-sum", "half"], [f"{name}-middle"])]
        nodes += [make("Sub", [f"{name}-to-most", f"{name}-first"], [f"{name}-extent"])]
    parts = ["x-middle", "y-middle", "x-extent", "y-extent", "any"]
    nodes += [make("Reshape", [part, "row"], [f"{part}-row"]) for part in parts]
    nodes += [make("Mul", ["any-row", "each"], ["scores"])]
    nodes += [make("Concat", [*(f"{part}-row" for part in parts[:4]), "scores"], ["out"], axis=1)]
    return stored(path, nodes, [1, 3, height, width], {"out": [1, 7, 3]}, weights)


@pytest.fixture(scope="module")
def extents(tmp_path_factory: pytest.TempPathFactory) -> Params:
    path = extents_model(tmp_path_factory.mktemp("extents") / "yolov8.onnx", 640, 384)
    return {**BY_NAME["onnx_detector"].defaults(), "model": str(path), "seam_size_px": 80, "confidence": 0.5}


@pytest.mark.parametrize("grid", [Grid(2, 2), Grid(3, 3)], ids=str)
@pytest.mark.parametrize("shape", [(640, 384), (1024, 768)], ids=str)
@pytest.mark.parametrize("off_px", [-41, -40, -23, -1, 0, 1, 17, 40, 41])
def test_a_model_sure_of_extents_finds_on_tiles_what_it_finds_in_the_frame(
    extents: Params, grid: Grid, shape: tuple[int, int], off_px: int
) -> None:
    width, height = shape
    windows = split(np.zeros((height, width), np.uint8), grid, 0)
    seam_x, seam_y = windows[0].core.right, windows[0].core.bottom
    placed = (  # on a crossing of seams, on one seam, and far from any or on another
        (RED, seam_x + off_px - 35, seam_y + off_px - 25, (70, 50)),
        (GREEN, seam_x + off_px - 30, 20, (60, 72)),
        (BLUE, width - 90, windows[-1].core.y + off_px - 30, (64, 60)),
    )
    picture = np.full((height, width, 3), 90, np.uint8)
    for colour, x, y, (wide, high) in placed:
        cv2.rectangle(picture, (x, y), (x + wide - 1, y + high - 1), colour, -1)
    whole, tiles = found_in(picture, Grid(1, 1), extents), found_in(picture, grid, extents)
    assert sorted(box_labels(whole)) == ["class 0", "class 1", "class 2"]
    assert sorted(box_labels(tiles)) == sorted(box_labels(whole))
    of_frame = dict(zip(box_labels(whole), unpack_boxes(whole)[0].tolist(), strict=True))
    of_tiles = dict(zip(box_labels(tiles), unpack_boxes(tiles)[0].tolist(), strict=True))
    for number, (_, x, y, (wide, high)) in enumerate(placed):
        name = f"class {number}"
        assert overlap(of_tiles[name], tuple(of_frame[name])) > 0.9
        assert overlap(of_tiles[name], (x, y, x + wide, y + high)) > 0.9


def test_classes_do_not_suppress_each_other(models: Path) -> None:
    yellow = squares(SIDE, SIDE, ((0, 240, 250), 64, 64, SQUARE))
    raw = np.zeros((1, 7, 2), np.float32)
    raw[0, :, 0], raw[0, :, 1] = [20, 20, 10, 10, 0.9, 0, 0], [20, 20, 10, 10, 0, 0.8, 0]
    corners, scores, kinds = decode([raw], "yolov8", (SIDE, SIDE))
    assert corners.tolist() == [[15, 15, 25, 25]] * 2
    assert scores == pytest.approx([0.9, 0.8])
    assert kinds.tolist() == [0, 1]
    assert box_labels(found_in(yellow, Grid(1, 1), params(models))) == ["red"]


def test_channels_are_given_in_the_order_asked_for_and_values_in_their_range(models: Path) -> None:
    picture = squares(SIDE, SIDE, (RED, 66, 66, SQUARE))
    assert box_labels(found_in(picture, Grid(1, 1), params(models, rgb=False))) == ["blue"]
    with pytest.raises(BadPixels, match=r"what it reads as scores goes from 0 to 250, .* or other values"):
        found_in(picture, Grid(1, 1), params(models, values="0..255"))


def test_grey_frames_are_taken(models: Path) -> None:
    picture = squares(SIDE, SIDE, ((250, 250, 250), 64, 64, SQUARE))[:, :, 0].copy()
    assert box_labels(found_in(picture, Grid(1, 1), params(models))) == ["red"]  # all alike: the first


def test_classes_without_a_name_have_a_number_and_the_background_is_not_told(models: Path) -> None:
    picture = squares(SIDE, SIDE, (BLUE, 64, 64, SQUARE), (RED, 16, 16, SQUARE))
    assert sorted(box_labels(found_in(picture, Grid(1, 1), params(models, labels="")))) == ["class 0", "class 2"]
    assert box_labels(found_in(picture, Grid(1, 1), params(models, background=0))) == ["blue"]


def test_a_model_of_any_size_is_told_one(tmp_path: Path) -> None:
    squares_model(tmp_path / "yolov8.onnx", "yolov8", dynamic=True)
    model = open_model(str(tmp_path / "yolov8.onnx"))
    with pytest.raises(PipelineError, match="name one: size = 640"):
        input_size(model, 0)
    assert input_size(model, SIDE) == (SIDE, SIDE)
    picture = squares(SIDE, SIDE, (BLUE, 64, 64, SQUARE))
    found = found_in(picture, Grid(1, 1), params(tmp_path, labels="", size=SIDE))
    assert box_labels(found) == ["class 2"]
    with pytest.raises(BadPixels, match=r"failed on 96x96 pixels"):  # its boxes are made for one size
        found_in(picture, Grid(1, 1), params(tmp_path, labels="", size=96))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 3)])
def test_tiny_pictures_do_no_harm(models: Path, size: tuple[int, int]) -> None:
    found = found_in(np.zeros((*size, 3), np.uint8), Grid(1, 1), params(models))
    assert len(found.score) % 4 == 0


def test_a_layout_that_does_not_fit_is_refused(models: Path) -> None:
    picture = squares(SIDE, SIDE)
    wrong = {**params(models, "ssd"), "layout": "yolov5"}
    with pytest.raises(
        BadPixels, match=r"layout 'yolov5' does not fit a model that gives \[1, 1600, 3\], \[1, 1600, 4\]"
    ):
        found_in(picture, Grid(1, 1), wrong)
    for outputs, layout in (([np.zeros((1, 4, 0), np.float32)], "yolov8"), ([np.zeros(3, np.float32)], "yolov8")):
        with pytest.raises(BadPixels, match="does not fit"):
            decode(outputs, layout, (SIDE, SIDE))
    with pytest.raises(BadPixels, match="does not fit"):
        decode([np.zeros((1, 4, 4), np.float32), np.zeros((1, 5, 2), np.float32)], "ssd", (SIDE, SIDE))


@pytest.mark.parametrize("value", [300.0, -4.0, float("inf"), float("-inf")])
@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "ssd"])
def test_scores_beyond_0_to_1_are_told_to_be_of_another_layout(layout: str, value: float) -> None:
    outputs = {
        "yolov8": [np.ones((1, 6, 3), np.float32)],
        "yolov5": [np.ones((1, 3, 7), np.float32)],
        "ssd": [np.zeros((1, 5, 4), np.float32), np.ones((1, 5, 2), np.float32)],
    }[layout]
    outputs[-1].flat[-1] = value
    with pytest.raises(
        BadPixels, match=rf"layout '{layout}' does not fit the model: .* scores lie from 0 to 1; take layout"
    ):
        decode(outputs, layout, (SIDE, SIDE))


def test_scores_that_rounding_leaves_just_outside_are_taken() -> None:
    for value in (1.005, -0.005):
        _, scores, _ = decode([np.full((1, 6, 3), value, np.float32)], "yolov8", (SIDE, SIDE))
        assert scores == pytest.approx([value] * 3)


def test_a_model_that_gives_places_where_scores_are_looked_for_is_refused_at_check(tmp_path: Path) -> None:
    raw = np.full((1, 6, 8), 300, np.float32)
    node = onnx.helper.make_node("Constant", [], ["out"], value=constant("", raw))
    path = stored(tmp_path / "yolov8.onnx", [node], [1, 3, 8, 8], {"out": [1, 6, 8]})
    with pytest.raises(PipelineError, match=r"layout 'yolov8' does not fit the model: .* from 300 to 300,"):
        check_onnx(params(path.parent, labels=""))


def test_no_rows_are_no_objects() -> None:
    corners, scores, kinds = decode([np.zeros((1, 0, 8), np.float32)], "yolov5", (SIDE, SIDE))
    assert (corners.shape, scores.size, kinds.size) == ((0, 4), 0, 0)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Constant", [], ["out"], value=constant("", np.full((1, 6, 2), np.nan, np.float32)))
    path = stored(tmp_path / "yolov8.onnx", [node], [1, 3, 8, 8], {"out": [1, 6, 2]})
    with pytest.raises(BadPixels, match="no numbers"):
        found_in(squares(9, 9), Grid(1, 1), params(path.parent, labels=""))


def test_unusable_models_are_refused_in_one_line(tmp_path: Path) -> None:
    same = onnx.helper.make_node("Identity", ["picture"], ["out"])
    wrong = {
        "is no ONNX model; give a file": tmp_path / "text.onnx",
        "the model takes tensor.float. .1, 2, 8, 8.": stored(
            tmp_path / "a", [same], [1, 2, 8, 8], {"out": [1, 2, 8, 8]}
        ),
        "the model takes tensor.float. .1, 3.": stored(tmp_path / "b", [same], [1, 3], {"out": [1, 3]}),
        "the model takes tensor.uint8.": stored(tmp_path / "c", [same], [1, 3, 8, 8], {"out": [1, 3, 8, 8]}, kind=2),
        "at most 4096": stored(tmp_path / "d", [same], [1, 3, 8, 5000], {"out": [1, 3, 8, 5000]}),
        "cannot be read": tmp_path / "missing.onnx",
    }
    (tmp_path / "text.onnx").write_text("no model")
    for words, path in wrong.items():
        with pytest.raises(PipelineError, match=words) as caught:
            open_model(str(path))
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_check_tries_the_model_before_the_first_frame(models: Path, tmp_path: Path) -> None:
    for layout in ("yolov8", "yolov5", "ssd"):
        check_onnx(params(models, layout))
    with pytest.raises(PipelineError, match="layout 'ssd' does not fit"):
        check_onnx({**params(models), "layout": "ssd"})
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    with pytest.raises(PipelineError, match="2 labels, the model tells 3 classes apart"):
        check_onnx(params(models, labels=str(tmp_path / "labels.txt")))
    with pytest.raises(PipelineError, match="is no YuNet model"):
        check_yunet({"model": str(models / "yolov8.onnx")})


def test_another_size_than_the_model_s_is_refused(models: Path) -> None:
    with pytest.raises(PipelineError, match="takes 160x160, size is 640"):
        found_in(squares(9, 9), Grid(1, 1), params(models, size=640))


@pytest.mark.parametrize(("content", "words"), [(b"", "1 to 10000 labels"), (b"\xff\xfe", "no UTF-8")])
def test_unusable_labels_are_refused(models: Path, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    picture = squares(SIDE, SIDE)
    with pytest.raises(PipelineError, match=words):
        found_in(picture, Grid(1, 1), params(models, labels=str(path)))


def test_a_model_is_opened_once_and_anew_when_its_file_changes(tmp_path: Path) -> None:
    path = squares_model(tmp_path / "m.onnx", "yolov8")
    first = open_model(str(path))
    assert open_model(str(path)) is first
    squares_model(path, "yolov5")
    assert open_model(str(path)) is not first


def test_yunet_s_rows_become_faces_of_the_core() -> None:
    window = split(np.zeros((200, 400, 3), np.uint8), Grid(1, 2), 80)[1]  # core from x = 208, shown from 128
    rows = np.zeros((3, 15), np.float32)
    rows[0, [0, 1, 2, 3, 14]] = 100, 20, 40, 50, 0.9
    rows[1, [0, 1, 2, 3, 14]] = 102, 21, 40, 50, 0.8  # the same face
    rows[2, [0, 1, 2, 3, 14]] = 10, 20, 40, 50, 0.95  # the left tile's
    faces = yunet_faces(window, rows, 0.3)
    corners, scores = unpack_boxes(faces)
    assert corners.tolist() == [[window.rect.x + 100, 20, window.rect.x + 140, 70]]
    assert scores == pytest.approx([0.9])
    assert box_labels(faces) == ["face"]
    assert yunet_faces(window, None, 0.3).xyxy == b""


def test_files_that_are_no_yunet_are_refused(tmp_path: Path, models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    window = split(squares(64, 64), Grid(1, 1), 0)[0]
    for path in (tmp_path / "text.onnx", tmp_path / "missing.onnx", models / "yolov8.onnx"):
        with pytest.raises((PipelineError, BadPixels), match=r"is no (YuNet|ONNX) model|cannot be read") as caught:
            yunet(window, {**BY_NAME["yunet"].defaults(), "model": str(path)})
        assert path.name in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_halo_shows_an_object_whole_if_its_centre_is_just_outside_the_core() -> None:
    assert object_halo({"seam_size_px": 127}) == 64 + MARGIN_PX


def test_floats_are_refused(models: Path) -> None:
    window = split(np.zeros((90, 90), np.float32), Grid(1, 1), 0)[0]
    with pytest.raises(BadPixels, match="expected"):
        onnx_detector(window, params(models))
    with pytest.raises(BadPixels, match="expected"):
        yunet(window, {**BY_NAME["yunet"].defaults(), "model": ""})
