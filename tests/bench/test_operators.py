"""`bench operators`: what is measured, how it is told, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from streamproc.bench import choose, measure_operators, render_operators
from streamproc.bench.operators import (
    FIGURES,
    LEAST_ROUNDS,
    Round,
    Sides,
    example_values,
    measure_rounds,
    pictures,
    sides_of,
)
from streamproc.errors import UsageError
from streamproc.model import Histogram
from streamproc.operators.catalogue import BUILT_IN
from tests.cli import streamproc

WHO = ("name", "family", "kind", "scope", "exact", "halo_px")


def measured(name: str) -> dict[str, Any]:
    names: list[str] = []
    result = measure_operators(choose(None, name), seconds=0.02, told=names.append)
    assert names == [name]
    (row,) = result["operators"]
    assert set(row) == {*WHO, *FIGURES, "note"}
    found: dict[str, Any] = row
    return found


def test_all_operators_or_those_of_a_family_or_one_are_chosen() -> None:
    assert {row.name for row in choose(None, None)} >= set(BUILT_IN)
    assert {row.family for row in choose("morphology", None)} == {"morphology"}
    assert [row.name for row in choose("edges", "canny")] == ["canny"]


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        ("edge", None, ["'edge'", "edges", "morphology"]),
        (None, "cany", ["'cany'", "'canny'"]),
        (None, "nothing like it", ["streamproc operators"]),
        ("morphology", "canny", ["'canny'", "'edges'", "'morphology'"]),
    ],
)
def test_a_wrong_name_is_refused_with_what_there_is(family: str | None, name: str | None, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        choose(family, name)
    assert "\n" not in str(refused.value)
    assert all(word in str(refused.value) for word in words)


def test_a_measure_of_tiles_has_every_figure() -> None:
    row = measured("gray_histogram")
    assert {name: row[name] for name in WHO} == {
        "name": "gray_histogram",
        "family": "colour and texture",
        "kind": "measure",
        "scope": "tile",
        "exact": "exact",
        "halo_px": 0,
    }
    assert all(row[name] > 0 for name in FIGURES)
    assert row["rounds"] >= LEAST_ROUNDS
    assert row["note"] is None


def test_the_tiles_of_a_transform_are_not_merged() -> None:
    row = measured("erode")
    assert row["halo_px"] == 1
    assert row["tiled_ms"] > 0
    assert row["plain_tiles_ms"] > 0
    assert row["merge_ms"] is None


def test_plain_calls_on_tiles_are_not_measured_where_totals_are_needed() -> None:
    row = measured("otsu")
    assert row["tiled_ratio"] > 0
    assert row["plain_tiles_ms"] is row["same_tiles_ratio"] is None


def test_ratios_are_those_within_a_round() -> None:
    assert Round(whole=3, plain=2, plain_tiles=4, tiled=5, merge=1).ratios() == (1.5, 3.0, 1.25)
    assert Round(whole=3, plain=2, tiled=5).ratios() == (1.5, 2.5, None)
    assert Round(whole=3, tiled=5).ratios() == (None, None, None)


def test_what_works_on_frames_has_no_tiles() -> None:
    row = measured("flip")
    assert row["whole_ratio"] > 0
    assert row["halo_px"] is row["tiled_ms"] is row["merge_ms"] is row["tiled_ratio"] is None


def test_a_follower_is_measured_after_it_has_learned() -> None:
    operator = BUILT_IN["background_subtraction"]
    sides = sides_of(operator, operator.defaults(), pictures())
    assert sides.whole().result is not None
    assert measured("background_subtraction")["whole_ms"] > 0


@pytest.mark.parametrize(("name", "words"), [("track", "boxes"), ("classify", "model"), ("face_tag", "examples")])
def test_what_cannot_be_measured_says_why(name: str, words: str) -> None:
    row = measured(name)
    assert words in row["note"]
    assert row["note"].endswith("not measured")
    assert all(row[figure] is None for figure in FIGURES)


def test_tiles_are_merged_as_the_aggregator_does_it() -> None:
    frame = pictures()[0]
    sides = sides_of(BUILT_IN["gray_histogram"], {"bins": 256}, [frame])
    assert sides.tiles is not None
    assert sides.merge is not None
    parts = sides.tiles()
    assert len(parts) == 4
    merged = sides.merge(parts)
    assert isinstance(merged, Histogram)
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    assert merged.counts == [np.bincount(gray.reshape(-1), minlength=256).tolist()] == sides.whole().counts


def test_tiles_carry_the_halo_and_memory_of_their_own(tmp_path: Path) -> None:
    frame = pictures()[0]
    sides = sides_of(BUILT_IN["denoise"], {"h": 1.0, "h_color": 1.0, "template": 3, "search": 3}, [frame])
    assert sides.tiles is not None
    tiles = sides.tiles()
    assert [tile.shape for tile in tiles] == [(354, 642, 3), (354, 642, 3), (370, 642, 3), (370, 642, 3)]
    assert set(example_values(tmp_path, frame)) == {"template_match", "brightness_contrast"}


def test_the_sides_take_turns_and_none_is_always_first() -> None:
    called: list[str] = []

    def note(side: str) -> list[str]:
        called.append(side)
        return called

    sides = Sides(
        plain=lambda: note("plain"),
        whole=lambda: note("whole"),
        tiles=lambda: note("tiles"),
        merge=lambda _parts: note("merge"),
        plain_tiles=lambda: note("plain tiles"),
    )
    rounds = measure_rounds(sides, 0)
    assert len(rounds) == LEAST_ROUNDS
    assert called[:5] == ["plain", "tiles", "merge", "whole", "plain tiles"]  # does not count
    assert called[5:10] == ["plain", "tiles", "merge", "whole", "plain tiles"]
    assert called[10:15] == ["tiles", "merge", "whole", "plain tiles", "plain"]


def test_opencv_has_its_threads_back() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        measured("flip")
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def entry(**values: Any) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys((*WHO, *FIGURES, "note"))
    return {**blank, "family": "edges", "scope": "tile", "exact": "exact", "halo_px": 1, **values}


def test_people_see_what_costs_too_much() -> None:
    screen = io.StringIO()
    result = {
        "frame": "1280x720",
        "grid": "2x2",
        "opencv": "4",
        "scikit_image": "0",
        "ratio_limit": 1.15,
        "operators": [
            entry(name="dear", plain_ms=1.0, whole_ms=1.0, tiled_ms=1.3, whole_ratio=1.0, tiled_ratio=1.3, rounds=2),
            entry(name="cheap", plain_ms=1.0, whole_ms=1.0, tiled_ms=1.1, whole_ratio=1.0, tiled_ratio=1.1, rounds=2),
            entry(name="free", exact="no", tiled_ratio=2.0, plain_ms=1.0, whole_ms=1.0, tiled_ms=2.0, whole_ratio=1.0),
            entry(name="same", plain_ms=1.0, tiled_ms=1.1, tiled_ratio=1.1, plain_tiles_ms=0.9, same_tiles_ratio=1.22),
            entry(name="unknown", halo_px=None, note="no call [gives] it"),
        ],
    }
    render_operators(result, Console(file=screen, force_terminal=True, width=200, highlight=False))
    lines = {line.split()[0]: line for line in screen.getvalue().splitlines() if line.split()}
    assert "\x1b[1;31m1.30" in lines["dear"]
    assert "\x1b[1;31m" not in lines["cheap"] + lines["free"]
    assert "\x1b[1;31m1.22" in lines["same"]
    assert "no call [gives] it" in lines["unknown"]
    assert "2 of 3 operators" in screen.getvalue()
    assert "0 of 1 at most 1.15 times the plain calls on the same tiles" in screen.getvalue()


def test_the_command_tells_machines_and_writes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "operators.json"
    done = streamproc("bench", "operators", "--operator", "erode", "--seconds", "0.05", "--json", "--out", file)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result == json.loads(file.read_text())
    assert {"streamproc", "python", "opencv", "numpy", "scikit_image", "cores", "seconds"} <= set(result)
    assert (result["frame"], result["grid"], result["ratio_limit"]) == ("1280x720", "2x2", 1.15)
    assert [row["name"] for row in result["operators"]] == ["erode"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["operators", "--family", "edge"], "no family 'edge'"),
        (["operators", "--operator", "cany"], "did you mean 'canny'?"),
        (["operators", "--out", "missing/file.json"], "--out missing/file.json"),
        (["--seconds", "4", "operators"], "streamproc bench operators ..."),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], word: str, tmp_path: Path) -> None:
    done = streamproc("bench", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert word in done.error_line


def test_bench_alone_still_measures_a_pipeline() -> None:
    told = streamproc("bench", "--help").out
    assert "--workers" in told
    assert "operators" in told
