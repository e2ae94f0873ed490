from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from streamproc.aggregator.merging import merge_step
from streamproc.errors import PipelineError
from streamproc.model import Grid
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.parameters import checked, described
from streamproc.operators.table import Operator
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts

DOCS = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
EVERY = list(OPERATORS.values())
EXACT_MEASURES = [operator for operator in EVERY if operator.kind == "measure" and operator.exact == "exact"]


def section(operator: Operator) -> str:
    match = re.search(rf"^### {operator.name}\n(.*?)(?=^##|\Z)", DOCS, re.DOTALL | re.MULTILINE)
    assert match, f"docs/operators.md has no section {operator.name}"
    return match[1]


@pytest.mark.parametrize("operator", EVERY, ids=lambda operator: operator.name)
def test_the_documentation_tells_each_operator_with_each_parameter_and_its_default(
    operator: Operator,
) -> None:
    text = section(operator)
    for parameter in operator.parameters:
        default = str(parameter.default).lower() if isinstance(parameter.default, bool) else f"{parameter.default:g}"
        assert re.search(
            rf"^\| `{parameter.name}` \| {re.escape(default)} \| {re.escape(described(parameter))} \|",
            text,
            re.MULTILINE,
        )


def test_the_documentation_tells_no_operator_that_does_not_exist() -> None:
    assert re.findall(r"^### (\w+)$", DOCS, re.MULTILINE) == list(OPERATORS)


@pytest.mark.parametrize("operator", EVERY, ids=lambda operator: operator.name)
def test_a_row_is_whole(operator: Operator) -> None:
    assert OPERATORS[operator.name] is operator
    assert operator.meaning
    assert operator.halo(operator.defaults()) >= 0
    assert "Raises:" in (inspect.getdoc(operator.run) or "")
    assert "gray" in operator.accepts
    names = [parameter.name for parameter in operator.parameters]
    assert len(set(names)) == len(names)
    assert not set(names) & {"operator", "name", "input", "every"}
    for parameter in operator.parameters:
        assert checked(parameter.default, parameter, "") == parameter.default
        assert parameter.meaning


def test_refused_values_are_told_with_what_is_allowed() -> None:
    (ksize, *_) = OPERATORS["gaussian"].parameters
    with pytest.raises(PipelineError, match="here must be an odd whole number from 1 to 63, got 2"):
        checked(2, ksize, "here")


@settings(max_examples=60)
@pytest.mark.parametrize("operator", EXACT_MEASURES, ids=lambda operator: operator.name)
@given(cuts(channels=(1, 3)))
def test_merged_tiles_equal_the_whole_frame_for_each_operator_that_claims_it(operator: Operator, case: Cut) -> None:
    picture = case.pixels
    if picture.ndim == 3 and "color" not in operator.accepts:
        picture = picture[:, :, 0].copy()
    params = {**operator.defaults(), **({"limit": 25} if "limit" in operator.defaults() else {})}
    if operator.name == "harris":
        params["threshold"] = 0.0
    merged = []
    for grid, halo in ((Grid(1, 1), 0), (case.grid, operator.halo(params) + case.extra_halo)):
        results = [operator.run(window, params) for window in split(picture, grid, halo)]  # type: ignore[arg-type]
        merged.append(merge_step(results, case.width, case.height))  # type: ignore[arg-type]  # measures alone
    first, second = (found if not hasattr(found, "tobytes") else found.tobytes() for found in merged)
    assert first == second
