from __future__ import annotations

import pickle
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.aggregator.merging import merge_step
from streamproc.errors import BadMessage, BadPixels
from streamproc.model import EdgeMap, Grid, Rect, Result
from streamproc.operators import pixels as pictures
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.pipeline import FRAME, Pipeline, Step
from streamproc.operators.pipeline_file import default_pipeline, parse
from streamproc.operators.pixels import decode, encode, gray
from streamproc.operators.table import Measure, Operator, Params, Value, Window
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts

EXACT = """
[[step]]
operator = "color_histogram"
[[step]]
name = "colours"
operator = "statistics"
[[step]]
operator = "brightness_contrast"
alpha = 1.3
[[step]]
operator = "gaussian"
ksize = 7
[[step]]
operator = "canny"
low = 10
high = 40
[[step]]
operator = "harris"
threshold = 1e-6
limit = 30
[[step]]
operator = "fast"
threshold = 5
limit = 30
input = "brightness_contrast"
[[step]]
operator = "sobel"
[[step]]
operator = "statistics"
[[step]]
operator = "gray_histogram"
bins = 64
[[step]]
name = "mask"
operator = "threshold"
input = "gaussian"
[[step]]
name = "outline"
operator = "canny"
l2 = true
"""


def merged(pipeline: Pipeline, picture: NDArray[Any], grid: Grid, halo: int) -> dict[str, Any]:
    height, width = picture.shape[:2]
    by_step: dict[str, list[Result]] = {}
    for window in split(picture, grid, halo):
        for name, result in pipeline.run(window, 0).items():
            by_step.setdefault(name, []).append(result)
    return {
        name: bytes(found) if isinstance(found := merge_step(results, width, height), np.ndarray) else found
        for name, results in by_step.items()
    }


@settings(max_examples=120)
@given(cuts(channels=(1, 3)))
def test_a_chain_of_exact_operators_is_exact(case: Cut) -> None:
    pipeline = parse(EXACT)
    whole = merged(pipeline, case.pixels, Grid(1, 1), 0)
    assert merged(pipeline, case.pixels, case.grid, pipeline.halo + case.extra_halo) == whole
    assert len(whole) == 8


def test_the_halo_is_that_of_the_longest_chain() -> None:
    # brightness 0, gaussian 3, then harris 3; fast has 4 without the blur; the sobel chain has 3 + 1.
    assert parse(EXACT).halo == 3 + 3
    assert parse('[[step]]\noperator = "statistics"').halo == 0


@pytest.mark.parametrize(
    "picture",
    [astronaut(), gray(astronaut()), astronaut()[:1, :1], gray(astronaut())[:1, :40]],
    ids=lambda p: str(p.shape),
)
def test_the_default_pipeline_takes_colour_and_grey_of_any_size(picture: NDArray[np.uint8]) -> None:
    pipeline = default_pipeline()
    for window in split(picture, Grid(1, 1), 0):
        results = pipeline.run(window, 0)
        assert set(results) == {"edges", "orb", "statistics", "gray_histogram", "faces"}
        assert isinstance(results["edges"], EdgeMap)


ALONE = [
    row
    for row in OPERATORS.values()
    if row.scope == "tile" and row.kind != "follower" and not any(one.required for one in row.parameters)
]


@pytest.mark.parametrize("operator", ALONE, ids=lambda row: row.name)
def test_an_operator_takes_colour_and_grey_frames_as_they_come_from_the_decoder(operator: Operator) -> None:
    # Raw pixels are a read-only view of the record.
    tail = "" if operator.kind == "measure" else '[[step]]\noperator = "statistics"'
    pipeline = parse(f'[[step]]\noperator = "{operator.name}"\n{tail}')
    assert pipeline.steps[0].input == FRAME
    for picture in map(np.ascontiguousarray, (astronaut()[:160, 100:300], gray(astronaut())[:160, 100:300])):
        results = pipeline.run(split(picture, Grid(1, 1), 0)[0], 0)
        assert set(results) == {pipeline.steps[-1].name}
        for codec in ("png", "raw"):
            pixels = decode(encode(picture, codec), codec, "gray8" if picture.ndim == 2 else "bgr8", 200, 160)
            assert pipeline.run(split(pixels, Grid(1, 1), 0)[0], 0) == results


def test_a_measure_runs_on_the_frames_that_are_due() -> None:
    pipeline = default_pipeline()
    (window,) = split(gray(astronaut())[:64, :64], Grid(1, 1), 0)
    due = ["faces" in pipeline.run(window, sequence) for sequence in range(12)]
    assert [sequence for sequence, is_due in enumerate(due) if is_due] == [0, 5, 10]


def counting(calls: list[str], name: str, **fields: Any) -> Operator:
    def run(pixels: NDArray[Any], params: Params) -> NDArray[Any]:
        calls.append(name)
        return pixels

    return Operator(
        name=name,
        kind="transform",
        run=run,
        accepts=("color", "gray"),
        exact="exact",
        family="test",
        meaning="",
        **fields,
    )


def nothing(window: Window, params: Params) -> Result:
    return cast("Measure", OPERATORS["statistics"].run)(window, params)


def step(name: str, operator: Operator, **more: Any) -> Step:
    return Step(name=name, operator=operator, parameters={}, **more)


def test_a_transform_is_worked_out_once_and_only_if_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    measure = Operator(name="measure", kind="measure", run=nothing, exact="exact", family="test", meaning="")
    pipeline = Pipeline(
        name="counted",
        steps=(
            step("used", counting(calls, "used")),
            step("unused", counting(calls, "unused"), input="used"),
            step("late", counting(calls, "late"), input="used"),
            step("first", measure, input="used"),
            step("second", measure, input="used"),
            step("third", measure, input="late", every=2),
        ),
    )
    conversions: list[None] = []

    def counted_gray(pixels: NDArray[Any]) -> NDArray[Any]:
        conversions.append(None)
        return gray(pixels)

    monkeypatch.setattr(pictures, "gray", counted_gray)
    (window,) = split(astronaut(), Grid(1, 1), 0)
    assert set(pipeline.run(window, 1)) == {"first", "second"}
    assert (calls, len(conversions)) == (["used"], 1)
    pipeline.run(window, 2)
    assert calls == ["used", "used", "late"]


def test_a_tile_with_too_little_halo_is_refused_by_name() -> None:
    pipeline = parse('[[step]]\noperator = "canny"')
    left, _ = split(gray(astronaut()), Grid(1, 2), 1)
    with pytest.raises(BadMessage, match=r"halo: the pipeline looks 2 px around") as refused:
        pipeline.run(left, 0)
    assert refused.value.reason == "halo"


def test_a_window_must_be_a_picture_that_fills_it() -> None:
    pipeline = parse('[[step]]\noperator = "canny"')
    core = Rect(0, 0, 16, 16)
    for pixels in (np.zeros((16, 15), np.uint8), np.zeros((16, 16), np.float32)):
        with pytest.raises(BadPixels):
            pipeline.run(Window(pixels=pixels, rect=core, core=core, width=16, height=16), 0)


def test_the_digest_tells_pipelines_apart_by_what_they_do() -> None:
    def digest(text: str) -> str:
        return parse(text).digest

    plain = '[[step]]\noperator = "canny"\n'
    assert digest(plain) == digest(f'name = "other"\n{plain}low = 50\nhigh = 150.0')
    others = [
        f"{plain}low = 51",
        f'{plain}name = "edges"',
        f"{plain}every = 2",
        f'{plain}[[step]]\noperator = "fast"',
    ]
    assert len({digest(text) for text in (plain, *others)}) == 5
    assert len(digest(plain)) == 16
    assert int(digest(plain), 16) >= 0


def test_the_version_of_an_operator_is_in_the_digest() -> None:
    def with_version(version: int) -> Pipeline:
        operator = Operator(
            name="m", kind="measure", run=nothing, exact="exact", family="test", meaning="", version=version
        )
        return Pipeline(name="p", steps=(Step(name="m", operator=operator, parameters={}),))

    assert with_version(1).digest != with_version(2).digest
    assert with_version(2).operators == {"m": 2}


def test_a_pipeline_describes_itself() -> None:
    pipeline = parse(EXACT)
    described = {str(step["name"]): step for step in pipeline.describe()}
    assert described["fast"]["input"] == "brightness_contrast"
    assert described["canny"]["parameters"] == {"low": 10.0, "high": 40.0, "l2": False}
    assert ("mask", "outline") in pipeline.edges
    assert (FRAME, "color_histogram") in pipeline.edges
    assert pipeline["mask"].operator.name == "threshold"
    with pytest.raises(KeyError):
        pipeline["nothing"]


def test_a_pipeline_goes_to_another_process() -> None:
    pipeline = default_pipeline()
    assert pickle.loads(pickle.dumps(pipeline)).digest == pipeline.digest  # noqa: S301 - our own bytes


@given(st.integers(0, 200))
def test_halo_that_was_not_asked_for_is_ignored(extra: int) -> None:
    pipeline = parse('[[step]]\noperator = "canny"')
    values: list[Value] = [
        str(pipeline.run(window, 0)) for window in split(gray(astronaut())[:96, :96], Grid(2, 2), 2 + extra)
    ]
    assert values == [str(pipeline.run(window, 0)) for window in split(gray(astronaut())[:96, :96], Grid(2, 2), 2)]
