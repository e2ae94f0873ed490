"""Every row of the table: whole, as exact as it says, and told in the documentation as it is."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from streamproc.aggregator.merging import merge_step
from streamproc.errors import PipelineError
from streamproc.model import Grid
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.parameters import checked
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import STEP_KEYS, parse
from streamproc.operators.table import PIXEL_KINDS, Measure, Operator
from streamproc.operators.tiling import split
from tests.operator_examples import EXAMPLES
from tests.operator_pages import COSTS, DOCS, FOLDER, HEAVY, INDEX, MEDIUM, PERFORMANCE, STITCH, costs, pages
from tests.operators.pictures import Cut, cuts

EVERY = list(BUILT_IN.values())
EXACT_MEASURES = [
    operator
    for operator in EVERY
    if operator.kind == "measure"
    and operator.scope == "tile"
    and operator.exact == "exact"
    and not any(parameter.required for parameter in operator.parameters)  # those are held to it in their own tests
]
PICTURE = (237, 640, 3)
PICTURE_BYTES = 45_000


def by_name(operator: Operator) -> str:
    return operator.name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pipelines of the pages name."""
    for package in ("onnx", "onnxruntime", "sklearn", "skl2onnx"):
        pytest.importorskip(package)
    from tests.operator_scenes import write_files

    folder = tmp_path_factory.mktemp("files")
    write_files(folder)
    return folder


def example(operator: Operator, request: pytest.FixtureRequest) -> Pipeline:
    named = any(parameter.file for parameter in operator.parameters)
    folder: Path | None = request.getfixturevalue("files") if named else None
    return parse(EXAMPLES[operator.name].steps, operator.name, folder=folder)


# --- the documentation ----------------------------------------------------------------------------------------


written = cache(pages)


@pytest.mark.parametrize("name", ["operators.md", *(f"operators/{name}.md" for name in (*BUILT_IN, STITCH))])
def test_the_documentation_is_what_the_table_and_its_docstrings_say(name: str) -> None:
    path = DOCS / name
    assert path.exists(), f"docs/{name} is missing: run python -m tests.operator_pages"
    assert path.read_text(encoding="utf-8") == written()[path], (
        f"{name} is out of date: run python -m tests.operator_pages"
    )


def test_each_row_has_a_page_and_a_picture_and_each_page_a_row() -> None:
    expected = {f"{name}.{ending}" for name in (*BUILT_IN, STITCH) for ending in ("md", "jpg")}
    assert {path.name for path in FOLDER.iterdir()} == expected
    assert set(EXAMPLES) == set(BUILT_IN)
    assert not HEAVY & MEDIUM
    assert set(BUILT_IN) >= HEAVY | MEDIUM


@pytest.mark.parametrize("name", [*BUILT_IN, STITCH])
def test_pictures_show_a_frame_and_what_was_made_of_it(name: str) -> None:
    stored = (FOLDER / f"{name}.jpg").read_bytes()
    picture = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == PICTURE
    assert len(stored) <= PICTURE_BYTES
    frame, made = picture[:, :316].astype(int), picture[:, 324:].astype(int)
    assert frame.std() > 5
    assert made.std() > 5
    assert np.abs(frame - made).mean() > 0.5


@pytest.mark.parametrize("operator", EVERY, ids=by_name)
def test_the_pipeline_of_each_page_is_accepted_and_runs_its_operator(
    operator: Operator, request: pytest.FixtureRequest
) -> None:
    pipeline = example(operator, request)
    assert operator.name in pipeline.operators
    assert f"```toml\n{EXAMPLES[operator.name].steps}```" in (FOLDER / f"{operator.name}.md").read_text(
        encoding="utf-8"
    )


def test_the_pipelines_of_the_overview_are_accepted() -> None:
    listed = re.findall(r"```toml\n(.*?)```", INDEX.read_text(encoding="utf-8"), re.DOTALL)
    assert listed
    for text in listed:
        assert parse(text).steps


def test_what_each_operator_costs_is_told_from_what_was_measured() -> None:
    measured: dict[str, Any] = {
        "frame": "1280x720",
        "grid": "2x2",
        "opencv": "4.14.0",
        "python": "3.11.7",
        "seconds": 1.0,
    }
    ratios = {"whole_ratio": 1.5, "tiled_ratio": 2.0}
    first = {
        "name": "canny",
        "family": "edges",
        "plain_ms": 2,
        "whole_ms": 3,
        "tiled_ms": 3.5,
        "merge_ms": 0.5,
        **ratios,
    }
    other = {**first, "name": "crop", "family": "preprocess", "tiled_ms": None, "merge_ms": None, "tiled_ratio": None}
    transform = {**first, "name": "sobel", "merge_ms": None}
    told = costs({**measured, "operators": [first, other, transform]})
    assert "1280x720, 2x2 tiles" in told
    assert told.splitlines()[-3:] == [
        "| edges | [canny](operators/canny.md) | 2.00 | 3.00 | 4.00 | 1.50 | 2.00 |",
        "| edges | [sobel](operators/sobel.md) | 2.00 | 3.00 | 3.50 | 1.50 | 2.00 |",
        "| preprocess | [crop](operators/crop.md) | 2.00 | 3.00 | - | 1.50 | - |",
    ]


def test_the_page_on_performance_has_the_cost_of_each_operator() -> None:
    told = PERFORMANCE.read_text(encoding="utf-8").partition(COSTS)[2]
    listed = re.findall(r"^\| ([\w ]+) \| \[(\w+)\]", told, re.MULTILINE)
    assert sorted(listed) == sorted((row.family, row.name) for row in BUILT_IN.values())


# --- the table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", EVERY, ids=by_name)
def test_a_row_is_whole(operator: Operator, request: pytest.FixtureRequest) -> None:
    assert BUILT_IN[operator.name] is operator
    assert operator.meaning
    assert operator.halo(example(operator, request)[operator.name].parameters) >= 0
    assert "Raises:" in (inspect.getdoc(operator.run) or "")
    assert "gray" in operator.accepts or not PIXEL_KINDS & set(operator.accepts)
    assert operator.scope == "frame" or operator.kind != "follower"
    names = [parameter.name for parameter in operator.parameters]
    assert len(set(names)) == len(names)
    assert not set(names) & set(STEP_KEYS)
    for parameter in operator.parameters:
        assert checked(parameter.default, parameter, "") == parameter.default
        assert parameter.meaning


def test_refused_values_are_told_with_what_is_allowed() -> None:
    (ksize, *_) = BUILT_IN["gaussian"].parameters
    with pytest.raises(PipelineError, match="here must be an odd whole number from 1 to 63, got 2"):
        checked(2, ksize, "here")


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("operator", EXACT_MEASURES, ids=by_name)
@given(cuts(channels=(1, 3)))
def test_merged_tiles_equal_the_whole_frame_for_each_measure_that_claims_it(operator: Operator, case: Cut) -> None:
    picture = case.pixels
    if picture.ndim == 3 and "color" not in operator.accepts:
        picture = picture[:, :, 0].copy()
    params = {**operator.defaults(), **({"limit": 25} if "limit" in operator.defaults() else {})}
    if operator.name == "harris":
        params["threshold"] = 0.0
    merged: list[Any] = []
    for grid, halo in ((Grid(1, 1), 0), (case.grid, operator.halo(params) + case.extra_halo)):
        results = [cast("Measure", operator.run)(window, params) for window in split(picture, grid, halo)]
        found = merge_step(results, case.width, case.height)
        merged.append(operator.finish(found, params) if operator.finish else found)
    first, second = (found.tobytes() if isinstance(found, np.ndarray) else found for found in merged)
    assert first == second
