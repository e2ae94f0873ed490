from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from streamproc.aggregator.merging import detected, merge_step
from streamproc.cli import faces as faces_command
from streamproc.errors import BadPixels, PipelineError, UsageError
from streamproc.model import Boxes, DetectedObject, Grid, Pixels, Rect
from streamproc.operators import pipeline_file
from streamproc.operators.boxes import unpack_boxes
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.embedding import embed_face
from streamproc.operators.face_tags import (
    ROWS,
    SFACE_SIDE_PX,
    THRESHOLD,
    UNKNOWN,
    check_faces,
    face_tag,
    find_faces,
    gallery_of,
    leave_one_out,
    name_of,
)
from streamproc.operators.pipeline_file import parse
from streamproc.operators.table import Window
from tests.aggregator.test_whole import view
from tests.operators.pictures import astronaut
from tests.retrieval.material import brighter, darker, grey, jpeg, smaller

FACE = (177, 66, 272, 161)  # of the astronaut
app = typer.Typer()
app.add_typer(faces_command.app, name="face")


def strangers() -> list[Pixels]:
    """Faces of a hundred people, 75x75."""
    small = np.rint(np.clip(skimage.data.lfw_subset()[:100], 0, 1) * 255).astype(np.uint8)  # type: ignore[no-untyped-call]  # no types there
    return [np.asarray(cv2.resize(one, (75, 75), interpolation=cv2.INTER_CUBIC), np.uint8) for one in small]


@pytest.fixture(autouse=True)
def _known_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_file, "OPERATORS", {**BUILT_IN, "face_tag": ROWS[0]})


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """One face of a photograph, and twenty strangers."""
    folder = tmp_path / "examples"
    folder.mkdir()
    cv2.imwrite(str(folder / "eileen-1.png"), astronaut())
    for number, face in enumerate(strangers()[:20]):
        cv2.imwrite(str(folder / f"stranger {number}_1.png"), face)
    return folder


def window(pixels: Pixels) -> Window:
    rect = Rect(0, 0, pixels.shape[1], pixels.shape[0])
    return Window(pixels=pixels, rect=rect, core=rect, width=rect.width, height=rect.height)


def tagged(pixels: Pixels, folder: Path, **changes: object) -> list[DetectedObject]:
    """Objects as the frame's event tells them."""
    result = face_tag(window(pixels), {**ROWS[0].defaults(), "examples": str(folder), **changes})
    merged = merge_step([result], pixels.shape[1], pixels.shape[0])
    assert isinstance(merged, Boxes)
    return detected(merged, "face_tag")


def warped(face: Pixels, random: np.random.Generator) -> Pixels:
    """Another box, light from a side, noise and JPEG."""
    height, width = face.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-4, 4), 1 + random.uniform(-0.05, 0.05))
    turn[0, 2] += random.uniform(-0.04, 0.04) * width
    turn[1, 2] += random.uniform(-0.04, 0.04) * height
    moved = cv2.warpAffine(face, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    left, right = (1 + random.uniform(-0.25, 0.25, 2)).tolist()
    light = np.linspace(left, right, width) * random.uniform(0.7, 1.3)
    return jpeg(np.clip(moved * light + random.normal(0, 5, moved.shape), 0, 255).astype(np.uint8), 60)


@pytest.mark.parametrize(
    "change",
    [np.copy, jpeg, brighter, darker, smaller, grey],
    ids=["same", "jpeg", "brighter", "darker", "smaller", "grey"],
)
def test_the_face_of_a_changed_photograph_is_named_among_twenty_others(
    change: Callable[[Pixels], Pixels], examples: Path
) -> None:
    pixels = change(astronaut())
    (face,) = tagged(pixels, examples)
    assert face.label == "eileen"
    assert face.score >= 0.75
    scale = pixels.shape[1] / 512
    assert face.box == pytest.approx([side * scale for side in FACE], abs=8)


def test_a_face_without_an_example_is_a_face(examples: Path) -> None:
    (examples / "eileen-1.png").unlink()
    (face,) = tagged(astronaut(), examples)
    assert face.label == UNKNOWN
    assert face.score < THRESHOLD


def test_of_a_hundred_people_a_face_in_other_light_and_another_box_finds_its_own() -> None:
    random = np.random.default_rng(0)
    people = strangers()
    known = np.array([embed_face(face) for face in people])
    alike = np.array([known @ embed_face(warped(face, random)) for face in people])
    own = np.diagonal(alike)
    others = np.where(np.eye(len(people), dtype=bool), -1, alike).max(axis=1)
    assert (own > others).mean() >= 0.98  # measured 1.0
    assert (own >= THRESHOLD).mean() >= 0.98
    assert (others >= THRESHOLD).mean() <= 0.02


def test_the_threshold_decides(examples: Path) -> None:
    assert [face.label for face in tagged(jpeg(astronaut()), examples, threshold=0.99)] == [UNKNOWN]
    (examples / "eileen-1.png").unlink()
    (face,) = tagged(astronaut(), examples, threshold=0.01)
    assert face.label.startswith("stranger ")


def test_new_examples_count_from_the_next_frame_on(examples: Path) -> None:
    kept = (examples / "eileen-1.png").read_bytes()
    (examples / "eileen-1.png").unlink()
    assert [face.label for face in tagged(astronaut(), examples)] == [UNKNOWN]
    (examples / "Eileen Collins_b.png").write_bytes(kept)
    assert [face.label for face in tagged(astronaut(), examples)] == ["Eileen Collins"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (30, 200), (23, 23, 3)])
def test_pictures_too_small_for_a_face_have_none(shape: tuple[int, ...], examples: Path) -> None:
    assert tagged(np.full(shape, 90, np.uint8), examples) == []


@pytest.mark.parametrize(
    "wrong", [np.zeros((5, 5)), np.zeros((0, 5), np.uint8), np.zeros((5, 5, 4), np.uint8)], ids=str
)
def test_what_is_no_picture_is_refused(wrong: NDArray[np.generic], examples: Path) -> None:
    rect = Rect(0, 0, 5, 5)
    given = Window(pixels=wrong, rect=rect, core=rect, width=5, height=5)
    with pytest.raises(BadPixels):
        face_tag(given, {**ROWS[0].defaults(), "examples": str(examples)})


def test_threads_say_what_one_thread_says(examples: Path) -> None:
    wanted = tagged(astronaut(), examples)
    told: list[list[DetectedObject]] = []
    threads = [threading.Thread(target=lambda: told.append(tagged(astronaut(), examples))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [wanted] * 3


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("anna-1.jpg", "anna"),
        ("anna_2.png", "anna"),
        ("Anna  Maria-left_3.png", "Anna Maria"),
        ("jo.jpeg", "jo"),
        ("-1.png", ""),
        ("a\x07-1.png", "a?"),
    ],
)
def test_the_name_stands_before_the_first_stroke(file: str, name: str) -> None:
    assert name_of(file) == name


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "1 to 1000 pictures"),
        ({"notes.txt": b"x"}, "it has 0"),
        ({"anna-1.png": b"none"}, "anna-1.png: is no picture that can be read"),
        ({"anna-1.png": b""}, "anna-1.png: is empty"),
        ({"-1.png": b"x"}, "is no picture|gives no name"),
    ],
)
def test_examples_that_cannot_be_used_are_told_in_one_line(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PipelineError, match=told):
        check_faces({**ROWS[0].defaults(), "examples": str(tmp_path)})


@pytest.mark.parametrize("name", ["-1.png", "face-1.png"])
def test_a_file_that_names_nobody_is_refused(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / name), strangers()[0])
    with pytest.raises(PipelineError, match="gives no name: call it as the person is called"):
        gallery_of(str(tmp_path))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "anna.png"), astronaut())
    with pytest.raises(PipelineError, match="is no folder"):
        gallery_of(str(tmp_path / "anna.png"))
    with pytest.raises(PipelineError, match="cannot be read"):
        gallery_of(str(tmp_path / "none"))


def test_the_face_of_an_example_is_cut_out_and_small_ones_are_taken_whole(examples: Path) -> None:
    gallery = gallery_of(str(examples))
    assert {example.name: example.found for example in gallery.examples}["eileen"]
    (eileen,) = [example for example in gallery.examples if example.name == "eileen"]
    assert 80 <= eileen.face.shape[0] <= 115
    assert len(gallery.names) == 21


def test_of_several_places_in_an_example_the_one_with_most_hits_is_the_face(tmp_path: Path) -> None:
    wide = np.asarray(cv2.resize(astronaut(), (400, 400), interpolation=cv2.INTER_AREA), np.uint8)[:300]
    places = find_faces(wide, {**ROWS[0].defaults(), "min_size_px": 50})
    sides = (places[:, 2] - places[:, 0]).tolist()
    assert len(places) == 2  # the second, larger, is no face
    assert sides[0] < sides[1]
    cv2.imwrite(str(tmp_path / "eileen-1.png"), wide)
    (example,) = gallery_of(str(tmp_path)).examples
    assert example.face.shape[0] == sides[0]


def test_faces_are_those_of_the_operator_faces() -> None:
    from streamproc.operators.recognisers import faces, grouped_faces

    params = {"scale_factor": 1.1, "min_neighbors": 5, "min_size_px": 48, "max_size_px": 0, "seam_size_px": 112}
    wanted, _ = unpack_boxes(grouped_faces(faces(window(grey(astronaut())), params), params))
    assert np.array_equal(find_faces(astronaut(), ROWS[0].defaults()), wanted)


def test_left_out_examples_are_named_after_the_others(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number, face in enumerate(strangers()[:8]):
        for copy in range(3):
            cv2.imwrite(str(tmp_path / f"p{number}-{copy}.png"), warped(face, random) if copy else face)
    cv2.imwrite(str(tmp_path / "single-1.png"), strangers()[50])
    judged = leave_one_out(gallery_of(str(tmp_path)), threshold=0.3)
    assert judged.count == 24
    assert judged.accuracy is not None
    assert judged.accuracy >= 0.95
    assert judged.own[-1] is None
    assert judged.said[-1] != "single"
    strict = leave_one_out(gallery_of(str(tmp_path)), threshold=0.999)
    assert strict.accuracy == 0
    assert set(strict.said) == {UNKNOWN}


PIPELINE = """
[[step]]
operator = "face_tag"
examples = "examples"
"""


def test_names_come_in_events_whatever_the_grid_and_examples_are_part_of_the_digest(examples: Path) -> None:
    pipeline = parse(PIPELINE, folder=examples.parent)
    for grid in (Grid(1, 1), Grid(3, 2)):
        found = view(pipeline, jpeg(astronaut()), grid)
        assert [(one.label, one.source) for one in found.objects] == [("eileen", "face_tag")]
        assert found.skipped == ()
    (examples / "eileen-1.png").unlink()
    assert parse(PIPELINE, folder=examples.parent).digest != pipeline.digest


def test_a_pipeline_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="examples is missing: folder of pictures of faces"):
        parse('[[step]]\noperator = "face_tag"')
    with pytest.raises(PipelineError, match=r"examples: .* cannot be read"):
        parse(PIPELINE, folder=tmp_path)


# --- a network ------------------------------------------------------------------------------------------------------


def network(path: Path, *, side: int = SFACE_SIDE_PX) -> Path:
    """A network of SFace's form that pools the picture: no good with faces, but a network."""
    from onnx import TensorProto, checker, helper, save

    takes = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, side, side])
    gives = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 147])
    nodes = [
        helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["fc1"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "pool", [takes], [gives]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    checker.check_model(model)
    save(model, str(path))
    return path


def test_a_network_is_used_if_it_is_given(examples: Path, tmp_path: Path) -> None:
    model = network(tmp_path / "model.onnx")
    (face,) = tagged(astronaut(), examples, model=str(model), threshold=0.95)
    assert (face.label, face.score > 0.98) == ("eileen", True)
    (plain,) = tagged(astronaut(), examples)
    assert plain.score != face.score
    (grey_face,) = tagged(grey(astronaut()), examples, model=str(model))
    assert grey_face.score > 0.9


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"no network", "is no ONNX model"), (b"\x08\x07" * 50, "is cut short, or no ONNX model")],
    ids=["empty", "text", "cut"],
)
def test_what_is_no_network_is_refused(examples: Path, tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(PipelineError, match=rf"model\.onnx: {told}"):
        check_faces({**ROWS[0].defaults(), "examples": str(examples), "model": str(file)})
    with pytest.raises(PipelineError, match="cannot be read"):
        check_faces({**ROWS[0].defaults(), "examples": str(examples), "model": str(tmp_path / "none.onnx")})


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_the_examples_are_good_for_and_tags_pictures(examples: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(examples / "eileen-2.png"), darker(smaller(astronaut())))
    picture = tmp_path / "group.jpg"
    cv2.imwrite(str(picture), np.hstack([astronaut(), brighter(astronaut())]))
    asked = ["face", "tag", str(examples), str(picture)]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "2 of 2 left-out examples named right (1.000, threshold 0.65)" in result.stdout
    assert "20 names have a single example, which cannot be left out" in result.stdout
    single = next(line for line in result.stdout.splitlines() if line.startswith("stranger 13"))
    assert single.split()[:5] == ["stranger", "13", "1", "-", "-"]
    assert f"{picture}: 2 faces" in result.stdout
    assert result.stdout.count("  eileen  0.") == 2
    assert "no face found in stranger 13_1.png: the whole picture is taken for one" in result.stderr
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert (told["accuracy"], told["judged"], len(told["names"])) == (1.0, 2, 21)
    eileen = next(row for row in told["names"] if row["name"] == "eileen")
    assert (eileen["examples"], eileen["right"], eileen["taken_whole"]) == (2, 2, 0)
    assert {row["right"] for row in told["names"] if row["name"] != "eileen"} == {None}
    assert eileen["most_other"] < THRESHOLD < eileen["least_own"]
    assert [face["name"] for face in told["pictures"][0]["faces"]] == ["eileen", "eileen"]


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_tagged(examples: Path, tmp_path: Path) -> None:
    good, broken, last = tmp_path / "good.png", tmp_path / "broken.png", tmp_path / "last.png"
    cv2.imwrite(str(good), astronaut())
    cv2.imwrite(str(last), astronaut())
    broken.write_bytes(good.read_bytes()[:999])
    missing = tmp_path / "missing.png"
    asked = ["face", "tag", str(examples), *map(str, (good, broken, missing, last))]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "200"})
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert f"{good}: 1 face\n  eileen" in result.stdout
    assert f"{last}: 1 face\n  eileen" in result.stdout
    named = [line for line in result.stderr.splitlines() if line.startswith("left out: ")]
    assert [str(path) in line for path, line in zip((broken, missing), named, strict=True)] == [True, True]
    result = CliRunner().invoke(app, [*asked, "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [picture["path"] for picture in told["pictures"]] == [str(good), str(last)]
    assert [str(path) in line for path, line in zip((broken, missing), told["skipped"], strict=True)] == [True, True]


def test_the_command_says_what_it_cannot_use(examples: Path, tmp_path: Path) -> None:
    for asked in ([str(tmp_path / "none")], [str(examples), str(tmp_path)]):
        result = CliRunner().invoke(app, ["face", "tag", *asked])
        assert isinstance(result.exception, UsageError)
    assert CliRunner().invoke(app, ["face", "tag", str(examples), "--threshold", "2"]).exit_code == 2
    result = CliRunner().invoke(app, ["face", "tag", str(examples)])
    assert "no name has two examples, so none can be left out and named" in result.stdout
    assert {line.split()[-3] for line in result.stdout.splitlines() if line.startswith("stranger")} == {"-"}
    assert "no face found in stranger 13_1.png" in result.stderr
