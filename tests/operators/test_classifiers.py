from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from skimage.data import lfw_subset

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Pixels, Rect
from streamproc.operators.classifiers import (
    FEATURES,
    INPUT,
    METADATA,
    RECIPE,
    ROWS,
    Classifier,
    classify,
    load_classifier,
    pooled_features,
)
from streamproc.operators.table import Window
from streamproc.train.examples import load_examples
from streamproc.train.fitting import fitted, onnx_model

LABELS = ("face", "no face")
PATCHES: Pixels = np.rint(lfw_subset() * 255).astype(np.uint8)  # type: ignore[no-untyped-call]


def whole(pixels: Pixels) -> Window:
    frame = Rect(0, 0, pixels.shape[1], pixels.shape[0])
    return Window(pixels=pixels, rect=frame, core=frame, width=frame.width, height=frame.height)


@pytest.fixture(scope="module")
def content() -> bytes:
    examples = load_examples("lfw", lambda *_: None)
    return onnx_model(fitted("softmax", examples.features, examples.truth, 0), "softmax", examples.labels)


@pytest.fixture(scope="module")
def model(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "faces.onnx"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def classifier(model: Path) -> Classifier:
    return load_classifier(model)


@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_features_of_any_picture_are_finite_and_bounded(rows: int, cols: int, color: bool, data: st.DataObject) -> None:
    shape = (rows, cols, 3) if color else (rows, cols)
    features = pooled_features(data.draw(arrays.arrays(np.uint8, shape)))
    assert features.shape == (FEATURES,)
    assert features.dtype == np.float32
    assert np.abs(features).max() <= 1


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))))
@settings(max_examples=60, deadline=None)
def test_a_grey_picture_has_the_features_of_its_colour_copy(gray: Pixels) -> None:
    assert np.array_equal(pooled_features(gray), pooled_features(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)))  # type: ignore[arg-type]


def test_features_hardly_change_with_contrast() -> None:
    picture = PATCHES[0]
    half = (picture // 2 + 40).astype(np.uint8)
    distance = np.linalg.norm(pooled_features(picture) - pooled_features(half))
    other = np.linalg.norm(pooled_features(picture) - pooled_features(PATCHES[150]))
    assert distance < 0.15 * other


def test_a_mirrored_gradient_has_its_strength_in_the_opposite_direction() -> None:
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    cells = 64
    right = pooled_features(ramp)[: 8 * cells].reshape(8, cells).sum(axis=1)
    left = pooled_features(np.ascontiguousarray(ramp[:, ::-1]))[: 8 * cells].reshape(8, cells).sum(axis=1)
    assert right.argmax() == 0
    assert left.argmax() == 4
    assert np.count_nonzero(right > 1e-3) == np.count_nonzero(left > 1e-3) == 1


def test_colour_tells_pictures_of_equal_grey_apart() -> None:
    blue, red = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)
    blue[:, :, 0], red[:, :, 2] = 200, 76  # 0.114 * 200 and 0.299 * 76: both are grey level 23
    assert cv2.cvtColor(blue, cv2.COLOR_BGR2GRAY)[0, 0] == cv2.cvtColor(red, cv2.COLOR_BGR2GRAY)[0, 0] == 23
    assert np.abs(pooled_features(blue) - pooled_features(red)).max() > 0.5


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_pixels_are_refused(wrong: Any) -> None:
    with pytest.raises(BadPixels):
        pooled_features(wrong)


def test_a_classifier_gives_scores_of_each_label(classifier: Classifier) -> None:
    scores = classifier.scores([*PATCHES[:5], *PATCHES[-5:]])
    assert classifier.labels == LABELS
    assert scores.shape == (10, 2)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores.argmax(axis=1).tolist() == [0] * 5 + [1] * 5
    assert classifier.scores([]).shape == (0, 2)


def test_pictures_are_judged_alone_as_in_company(classifier: Classifier) -> None:
    together = classifier.scores(list(PATCHES[:20]))
    alone = np.concatenate([classifier.scores([patch]) for patch in PATCHES[:20]])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_threads_share_a_classifier(model: Path, classifier: Classifier) -> None:
    expected = classifier.scores(list(PATCHES))

    def judged(_: int) -> Any:
        return load_classifier(model).scores(list(PATCHES))

    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(judged, range(8)):
            assert np.array_equal(scores, expected)


def test_classify_tells_the_best_labels(model: Path) -> None:
    face = cv2.resize(PATCHES[3], (96, 96))
    labels = classify(whole(np.asarray(face, np.uint8)), {"model": str(model), "top": 2}).scores
    assert [label for label, _ in labels] == ["face", "no face"]
    assert labels[0][1] > 0.9
    assert classify(whole(PATCHES[150]), {"model": str(model), "top": 1}).scores[0][0] == "no face"
    assert len(classify(whole(PATCHES[150]), {"model": str(model), "top": 1}).scores) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1, 3), (2, 2, 3)])
def test_classify_takes_pictures_of_any_size(model: Path, shape: tuple[int, ...]) -> None:
    labels = classify(whole(np.full(shape, 9, np.uint8)), {"model": str(model), "top": 5}).scores
    assert {label for label, _ in labels} == set(LABELS)


def test_classify_refuses_other_pixels(model: Path) -> None:
    with pytest.raises(BadPixels):
        classify(whole(np.zeros((4, 4), np.float32)), {"model": str(model), "top": 5})


def test_the_row_needs_a_model_and_works_on_the_whole_frame() -> None:
    (row,) = ROWS
    assert (row.name, row.kind, row.scope, row.needs) == (
        "classify",
        "measure",
        "frame",
        ("onnxruntime", "recognition"),
    )
    assert [parameter.name for parameter in row.parameters if parameter.required and parameter.file] == ["model"]


def test_a_changed_file_is_loaded_anew(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert load_classifier(path) is load_classifier(path)
    path.write_bytes(changed(content, lambda facts: facts.replace("no face", "other")))
    assert load_classifier(path).labels == ("face", "other")


def changed(content: bytes, change: Callable[[str], str]) -> bytes:
    """The model with other metadata."""
    found = onnx.load_from_string(content)
    told = {entry.key: entry.value for entry in found.metadata_props}
    del found.metadata_props[:]
    onnx.helper.set_model_props(found, {METADATA: change(told[METADATA])})
    return bytes(found.SerializeToString())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda facts: facts.replace('"version":1', '"version":2'), "this version makes"),
        (lambda facts: facts[:-3], "metadata is damaged"),
        (lambda _: "[]", "metadata is damaged"),
        (lambda _: "x" * 1_000_001, "metadata is damaged"),
        (lambda facts: facts.replace('"no face"', '"face"'), "not all different"),
        (lambda facts: facts.replace('"no face"', '""'), "printable"),
        (lambda facts: facts.replace('"no face"', r'"\u001b[2J"'), "printable"),
        (lambda facts: facts.replace('"no face"', f'"{"x" * 101}"'), "printable"),
        (lambda facts: facts.replace(',"no face"', ""), "it has 1 labels"),
        (lambda facts: facts.replace('"no face"', ",".join(f'"{n}"' for n in range(300))), "it has 301 labels"),
        (lambda facts: facts.replace('"no face"', '"a","b"'), "expected (1, 3)"),
    ],
)
def test_a_model_that_tells_nonsense_is_refused(
    content: bytes, tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(changed(content, change))
    with pytest.raises(PipelineError) as refused:
        load_classifier(path)
    assert told in str(refused.value)
    assert str(path) in str(refused.value)
    assert "train" in str(refused.value)


def other_model(name: str, width: int, *, tell: bool) -> bytes:
    """A model of another origin: it gives its input back."""
    float32 = onnx.TensorProto.FLOAT
    takes = onnx.helper.make_tensor_value_info(name, float32, [None, width])
    gives = onnx.helper.make_tensor_value_info("probabilities", float32, [None, width])
    node = onnx.helper.make_node("Identity", [name], ["probabilities"])
    found = onnx.helper.make_model(
        onnx.helper.make_graph([node], "other", [takes], [gives]), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    found.ir_version = 8
    if tell:
        recipe = str(RECIPE).replace("'", '"')
        onnx.helper.set_model_props(found, {METADATA: f'{{"features":{recipe},"labels":["a","b"],"kind":"svm"}}'})
    return bytes(found.SerializeToString())


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (b"", "is empty; copy"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no ONNX model; give"),
        (other_model(INPUT, FEATURES, tell=False), "no classifier of streamproc"),
        (other_model("pixels", FEATURES, tell=True), "does not take features"),
        (other_model(INPUT, FEATURES, tell=True), "expected (1, 2) finite scores"),
        (other_model(INPUT, 12, tell=True), "failed on 1 pictures"),
    ],
)
def test_a_file_that_is_no_classifier_is_refused(tmp_path: Path, made: bytes, told: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made)
    with pytest.raises(PipelineError) as refused:
        load_classifier(path)
    assert told in str(refused.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_model_cut_short_is_refused(content: bytes, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(PipelineError):
        load_classifier(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read"):
        load_classifier(tmp_path / "none.onnx")
    with pytest.raises(PipelineError, match="is a folder; name the ONNX file in it"):
        load_classifier(tmp_path)
