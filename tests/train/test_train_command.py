from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamproc.cli.train import train
from streamproc.errors import UsageError
from streamproc.operators.classifiers import load_classifier

app = typer.Typer()
app.command()(train)


def test_a_training_says_how_well_it_went(tmp_path: Path) -> None:
    out, report = tmp_path / "faces.onnx", tmp_path / "report"
    asked = ["--data", "lfw", "--kind", "softmax", "--out", str(out), "--report", str(report), "--splits", "2"]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "on 2 held-out halves; 200 pictures" in result.output
    assert "no face" in result.output
    assert str(out) in result.output
    assert load_classifier(out).labels == ("face", "no face")
    assert sorted(one.name for one in report.iterdir()) == ["confusion.png", "report.html", "report.json"]


def test_a_training_tells_machines_in_json_alone(tmp_path: Path) -> None:
    out = tmp_path / "faces.onnx"
    result = CliRunner().invoke(app, ["--data", "lfw", "--out", str(out), "--splits", "1", "--seed", "3", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["kind"], told["seed"], told["model"], told["report"]) == ("svm", 3, str(out), None)
    assert told["accuracy"]["mean"] >= 0.95


@pytest.mark.parametrize(
    "asked", [["--data", "lfw"], ["--data", "lfw", "--out", "m.onnx", "--kind", "trees"], ["--splits", "0"]]
)
def test_wrong_usage_is_exit_status_2(asked: list[str]) -> None:
    assert CliRunner().invoke(app, asked).exit_code == 2


def test_data_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--data", str(tmp_path / "none"), "--out", str(tmp_path / "m.onnx")])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
