"""Every pipeline of docs/pipelines, in this process, on what it is shown on: what its page claims is what comes out."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from producers.sources.builtin import BuiltinSource
from streamproc.aggregator.recognition import FrameView, merge_frame
from streamproc.aggregator.whole import WholeSteps
from streamproc.model import Grid, Pixels
from streamproc.operators.classifiers import load_classifier
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import load
from tests.aggregator.test_whole import closed
from tests.cli import streamproc
from tests.event_schema import check_event

FOLDER = Path(__file__).parent.parent / "docs" / "pipelines"
FILES = sorted(FOLDER.glob("*.toml"))
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
GRID = Grid(2, 2)
FPS = 25


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """`make.py`, which draws what the pipelines are shown on."""
    spec = importlib.util.spec_from_file_location("make_for_pipelines", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def builtin() -> BuiltinSource:
    return BuiltinSource()


def views(pipeline: Pipeline, pictures: Iterable[Pixels]) -> Iterator[FrameView]:
    """Each frame as it comes out of the aggregator, after its tiles went through extract agents."""
    steps = WholeSteps(pipeline)
    for number, picture in enumerate(pictures):
        view = merge_frame(closed(pipeline, picture, GRID, sequence=number), steps)
        assert view.skipped == ()
        yield view


def happened(seen: Iterable[FrameView]) -> list[tuple[int, str, str, str]]:
    """Frame, step, what and subject of all that happened, but for the updates of tracks."""
    return [
        (number, step, one.what, one.subject)
        for number, view in enumerate(seen)
        for step, one in view.occurrences
        if one.what != "update"
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_passes_the_check_and_runs_on_the_built_in_camera(file: Path, builtin: BuiltinSource) -> None:
    checked = streamproc("pipeline", "check", file)
    assert checked.code == 0, checked.err
    (view,) = views(load(file), [builtin.frame(0)])
    assert view.features or view.objects
    assert f"[{file.name}]({file.name})" in PAGE


def test_edges_are_those_of_opencv_on_the_smoothed_frame(builtin: BuiltinSource) -> None:
    frame = builtin.frame(0)
    (view,) = views(load(FOLDER / "edges.toml"), [frame])
    smooth = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    edges = cv2.Canny(smooth, 50, 150)
    assert view.summary is not None
    assert view.summary.digest == hashlib.sha256(np.packbits(edges > 0).tobytes()).hexdigest()
    assert view.features["lines"]["count"] > 20


def test_the_walkers_of_the_film_are_counted_by_direction_each_once(make: ModuleType) -> None:
    seen = list(views(load(FOLDER / "people-counting.toml"), (frame for _, frame in make.people())))
    assert seen[-1].features["gate"] == {"left_to_right": 3, "right_to_left": 2}
    crossed = [one for one in happened(seen) if one[2] == "crossed"]
    due = sorted(abs(make.LINE_X - x) / abs(speed) for _, _, x, speed in make.WALKERS)
    assert [number for number, *_ in crossed] == pytest.approx(due, abs=FPS / 4)
    assert len({subject for *_, subject in crossed}) == len(make.WALKERS) == seen[-1].features["crowd"]["unique"]


def test_the_astronaut_is_tagged_as_long_as_the_camera_shows_her(builtin: BuiltinSource) -> None:
    pipeline = load(FOLDER / "faces.toml")
    seen = list(views(pipeline, map(builtin.frame, range(101))))
    for number in range(5, 96, 5):
        (face,) = seen[number].objects
        assert face.label == "astronaut"
        assert face.track == "0-0"
    assert happened(seen) == [(5, "seen", "new", "0-0")]
    (other,) = views(pipeline, [builtin.frame(0)[:, ::-1].copy()])
    assert "astronaut" not in {face.label for face in other.objects}


def test_the_sheets_and_the_face_are_what_their_command_draws(make: ModuleType) -> None:
    for name, sheet in make.digits():
        stored = cv2.imread(str(FOLDER / "digits" / name), cv2.IMREAD_GRAYSCALE)
        assert stored is not None
        assert np.array_equal(stored, sheet)
    ((name, face),) = make.faces()
    stored = cv2.imread(str(FOLDER / "faces" / name))
    assert stored is not None
    assert np.abs(stored.astype(int) - face).mean() < 4  # JPEG


def test_the_sheets_are_read_and_their_empty_boxes_are_not(make: ModuleType) -> None:
    truth = [told for told, _ in make.sheets()]
    read = []
    for view in views(load(FOLDER / "digits.toml"), (sheet for _, sheet in make.digits())):
        said = [""] * (make.ROWS * make.COLS)
        for one in view.objects:
            left, top, right, bottom = (round(corner) for corner in one.box)
            assert (right - left, bottom - top) == (make.CELL_PX, make.CELL_PX)
            said[top // make.CELL_PX * make.COLS + left // make.CELL_PX] = one.label
        read.append(said)
    pairs = [pair for sheet in zip(truth, read, strict=True) for pair in zip(*sheet, strict=True)]
    assert sum(told == found for told, found in pairs if told) == 78
    assert sum(told != "" for told, _ in pairs) == 80
    assert not any(found for told, found in pairs if not told)


def test_the_model_reads_digits_it_was_not_trained_on(make: ModuleType) -> None:
    classifier = load_classifier(str(FOLDER / "digits.onnx"))
    assert set(classifier.labels) == {*map(str, range(10)), make.NONE}
    found, random = load_digits(), np.random.default_rng(23)
    held_out = range(make.TRAINED, len(found.images))
    scores = np.asarray(classifier.scores([make.cell(found.images[index], random) for index in held_out]))
    said = [classifier.labels[index] for index in scores.argmax(axis=1).tolist()]
    right = np.mean([label == str(found.target[index]) for label, index in zip(said, held_out, strict=True)])
    assert len(held_out) == 450
    assert right >= 0.93


def test_each_fault_of_the_camera_is_told_within_two_seconds_by_its_name(make: ModuleType) -> None:
    told = happened(views(load(FOLDER / "camera-health.toml"), (frame for _, frame in make.camera())))
    assert [(what, subject) for _, _, what, subject in told] == [
        (what, fault) for fault in make.FAULTS for what in ("begin", "end")
    ]
    for (begun, *_), (ended, *_), (first, after) in zip(told[::2], told[1::2], make.FAULTS.values(), strict=True):
        assert first < begun <= first + 2 * FPS
        assert after < ended <= after + 2 * FPS


def test_a_camera_that_is_well_gives_no_alarm(builtin: BuiltinSource) -> None:
    frames = map(builtin.frame, itertools.chain(range(100), range(100, 1500, 20)))
    assert happened(views(load(FOLDER / "camera-health.toml"), frames)) == []


def test_the_events_on_the_page_fit_their_schemas() -> None:
    printed: list[dict[str, Any]] = [json.loads(line) for line in re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)]
    lines = [line for line in printed if "specversion" in line]  # the others are parts of events
    assert {line["type"] for line in lines} >= {f"io.streamproc.{kind}.v1" for kind in ("rule", "track", "anomaly")}
    for line in lines:
        check_event(line)
