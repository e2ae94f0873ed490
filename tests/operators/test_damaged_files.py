"""Files that pipelines name, damaged in every way people meet: each refused in one line of ours, by each operator."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamproc.errors import PipelineError
from streamproc.operators.catalogue import BUILT_IN, OPERATORS
from streamproc.operators.files import read_model, read_picture
from streamproc.operators.pipeline_file import parse
from tests.cli import streamproc
from tests.operators.pictures import photograph

onnx = pytest.importorskip("onnx")
FOREIGN = ("ONNXRuntime", "ONNX Runtime", "OpenCV(", "error:", "Protobuf", "InvalidArgument", "[E:", "(-2", "Error in")


def network(takes: list[int | str], *, values: int = 0) -> bytes:
    """A whole model that gives back what it takes, with `values` weights that it does not need."""
    weight = onnx.numpy_helper.from_array(np.arange(max(1, values), dtype=np.float32), "weight")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["picture"], ["out"])],
        "graph",
        [onnx.helper.make_tensor_value_info("picture", 1, takes)],
        [onnx.helper.make_tensor_value_info("out", 1, takes)],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def unknown_node() -> bytes:
    model = onnx.load_from_string(network([1, 3, 32, 32]))
    model.graph.node[0].op_type = "Unheard"
    return bytes(model.SerializeToString())


WHOLE = network([1, 3, 32, 32], values=2000)
MODELS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; copy or download the model again"),
    "text": (b"this is no model\n", "is no ONNX model; give a file that an export to ONNX wrote"),
    "a web page": (b"<!DOCTYPE html><html></html>", "is no ONNX model; give a file that an export to ONNX wrote"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer, not the model; fetch it"),
    "a picture": (cv2.imencode(".png", photograph(40, 30))[1].tobytes(), "is no ONNX model; give"),
    "zeros": (bytes(4096), "is no ONNX model; give"),
    "half of it": (WHOLE[: len(WHOLE) // 2], "is cut short; copy or download the model again"),
    "all but a byte": (WHOLE[:-1], "is cut short"),
    "its first bytes": (WHOLE[:2], "is cut short, or no ONNX model"),
    "another network": (WHOLE, ""),
    "another shape": (network([1, 5]), ""),
    "an unknown node": (unknown_node(), ""),
    "noise in its middle": (WHOLE[:40] + bytes(range(255, 55, -1)) + WHOLE[240:], ""),
}
USERS: dict[str, Callable[[str], str]] = {
    "onnx_detector": lambda path: f'model = "{path}"',
    "yunet": lambda path: f'model = "{path}"',
    "classify": lambda path: f'model = "{path}"',
    "sliding_window": lambda path: f'model = "{path}"',
    "face_tag": lambda path: f'model = "{path}"\nexamples = "{Path(path).parent / "faces"}"',
}


def refusal(operator: str, values: str) -> str:
    pipeline = parse(f'[[step]]\noperator = "{operator}"\n{values}\n')
    with pytest.raises(PipelineError) as refused:
        pipeline.check()
    return str(refused.value)


def assert_one_line_of_ours(told: str, operator: str, path: Path) -> None:
    assert told.startswith(f'step "{operator}": {path}: ')
    assert "\n" not in told
    assert len(told) < 350
    assert not [word for word in FOREIGN if word in told]
    assert told.count(str(path)) == 1


def test_every_operator_that_takes_a_model_is_in_the_table() -> None:
    named = {row.name for row in OPERATORS.values() for one in row.parameters if one.file and one.name == "model"}
    assert named == set(USERS)


@pytest.mark.parametrize("operator", USERS)
@pytest.mark.parametrize("damage", MODELS)
def test_a_damaged_or_foreign_model_is_refused_in_one_line_and_nothing_else_is_printed(
    tmp_path: Path, operator: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "anna-1.png"), photograph(64, 48))
    content, words = MODELS[damage]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    told = refusal(operator, USERS[operator](str(path)))
    assert_one_line_of_ours(told, operator, path)
    assert words in told
    assert capfd.readouterr() == ("", "")


PNG = cv2.imencode(".png", photograph(60, 44))[1].tobytes()
JPEG = cv2.imencode(".jpg", photograph(60, 44))[1].tobytes()
PICTURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; copy the picture again"),
    "text": (b"this is no picture\n", "is no picture that can be read; give one of .png"),
    "a model": (WHOLE, "is no picture that can be read"),
    "half a PNG": (PNG[: len(PNG) // 2], "is cut short or damaged; copy it again"),
    "a PNG without its end": (PNG[:-4], "is cut short or damaged"),
    "a PNG with another byte": (PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:], "is cut short or damaged"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "is cut short or damaged"),
    "the head of a JPEG": (JPEG[:100], "is cut short or damaged"),
    "half a BMP": (cv2.imencode(".bmp", photograph(60, 44))[1].tobytes()[:4000], ""),
    "half a WebP": (cv2.imencode(".webp", photograph(60, 44))[1].tobytes()[:300], ""),
}


@pytest.mark.parametrize(("operator", "parameter"), [("template_match", "templates"), ("face_tag", "examples")])
@pytest.mark.parametrize("damage", PICTURES)
def test_a_damaged_picture_is_refused_in_one_line(
    tmp_path: Path, operator: str, parameter: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content, words = PICTURES[damage]
    (tmp_path / "anna-1.png").write_bytes(content)
    # templates are read for their halo already when the pipeline is
    with pytest.raises(PipelineError) as refused:
        parse(f'[[step]]\noperator = "{operator}"\n{parameter} = "{tmp_path}"\n').check()
    told = str(refused.value)
    assert str(tmp_path / "anna-1.png") in told
    assert "\n" not in told
    assert not [word for word in FOREIGN if word in told]
    assert words in told
    capfd.readouterr()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_whole_pictures_are_read_as_opencv_reads_them(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture{ending}"
    cv2.imwrite(str(path), photograph(60, 44))
    assert np.array_equal(read_picture(path, color=True), np.asarray(cv2.imread(str(path))))
    assert read_picture(path, color=False).shape == (44, 60)


def test_a_whole_model_is_read_and_its_size_is_held(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE)
    assert read_model(path) == WHOLE
    with pytest.raises(PipelineError, match="is larger than 100 bytes; give a smaller model"):
        read_model(path, 100)
    with pytest.raises(PipelineError, match="is a folder; name the ONNX file in it"):
        read_model(tmp_path)
    with pytest.raises(PipelineError, match=r"none\.onnx: cannot be read"):
        read_model(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("operator", "parameter"),
    [(row.name, one.name) for row in BUILT_IN.values() for one in row.parameters if one.file],
)
def test_a_name_that_can_be_no_file_is_refused_in_one_line(operator: str, parameter: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    others = "".join(
        f'{one.name} = "{tmp_path}"\n'
        for one in BUILT_IN[operator].parameters
        if one.required and one.name != parameter
    )
    for name, words in (
        ("a\\u0000b", "'a\\x00b' names no file: take out its NUL character"),
        ("x" * 5000, "cannot be read: File name too long"),
        ("ring", "cannot be read: "),
        ("pipe", "is neither a file nor a folder; name one"),
        ("/dev/zero", "/dev/zero is neither a file nor a folder; name one"),
    ):
        text = f'[[step]]\noperator = "{operator}"\n{others}{parameter} = "{name}"'
        with pytest.raises(PipelineError, match=re.escape(words)) as refused:
            parse(text, "my.toml", folder=tmp_path)
        assert str(refused.value).startswith(f'my.toml: step 1 "{operator}": {parameter}: ')
        assert "\n" not in str(refused.value)


def test_a_name_with_a_nul_ends_the_command_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "nul.toml"
    file.write_text('[[step]]\noperator = "template_match"\ntemplates = "a\\u0000b"\n', encoding="utf-8")
    done = streamproc("pipeline", "check", str(file))
    assert done.code == 2
    assert "NUL character" in done.error_line
