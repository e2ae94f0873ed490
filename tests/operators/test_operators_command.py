from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamproc.cli.operators import operators, pipeline_app
from streamproc.errors import PipelineError
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.pipeline_file import default_pipeline, parse

app = typer.Typer()
app.command("operators")(operators)
app.add_typer(pipeline_app, name="pipeline")


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_all_operators_are_shown() -> None:
    shown = output("operators")
    for operator in OPERATORS.values():
        assert operator.name in shown
        for parameter in operator.parameters:
            assert parameter.name in shown


def test_all_operators_are_given_to_machines() -> None:
    values = {row["name"]: row for row in json.loads(output("operators", "--json"))}
    assert list(values) == list(OPERATORS)
    assert values["canny"]["halo_px"] == 2
    assert values["canny"]["exact"] == "exact"
    assert values["gaussian"]["parameters"][0] == {
        "name": "ksize",
        "default": 5,
        "low": 1,
        "high": 63,
        "choices": [],
        "odd": True,
        "allowed": "an odd whole number from 1 to 63",
        "meaning": "width of the kernel, pixels",
    }


def test_the_built_in_pipeline_is_printed_as_a_file_that_is_right(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(output("pipeline", "default"), encoding="utf-8")
    assert parse(file.read_text(encoding="utf-8")).digest == default_pipeline().digest
    shown = output("pipeline", "check", str(file))
    assert f"a halo of {default_pipeline().halo} px" in shown
    assert default_pipeline().digest in shown
    values = json.loads(output("pipeline", "check", str(file), "--json"))
    assert values["digest"] == default_pipeline().digest
    assert [step["name"] for step in values["steps"]] == [step.name for step in default_pipeline().steps]


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[[step]]\noperator = 'cany'", encoding="utf-8")
    result = CliRunner().invoke(app, ["pipeline", "check", str(file)])
    assert isinstance(result.exception, PipelineError)
    with pytest.raises(PipelineError, match="did you mean"):
        raise result.exception
