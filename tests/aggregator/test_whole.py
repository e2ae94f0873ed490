"""Steps on the whole frame: what they are given, what they remember, and what a failure costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from streamproc.aggregator.assembly import ClosedFrame
from streamproc.aggregator.recognition import FrameView, merge_frame
from streamproc.aggregator.whole import MAX_PICTURED, MAX_RUNS, WholeSteps
from streamproc.errors import BadMessage
from streamproc.model import Boxes, Features, Figures, Grid, Occurrence, Result
from streamproc.operators.boxes import pack_boxes, unpack_boxes
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.pipeline import Pipeline, Step
from streamproc.operators.pipeline_file import parse
from streamproc.operators.table import Memory, Operator, Params, Scene, Sighting, Window
from streamproc.operators.tiling import split
from tests.features import features
from tests.operators.pictures import Cut, astronaut, cuts, photograph


def closed(
    pipeline: Pipeline, picture: NDArray[Any], grid: Grid, *, gone: Sequence[int] = (), sequence: int = 0, **header: Any
) -> ClosedFrame:
    """A frame as its tiles went through extract agents; those in `gone` are missing."""
    height, width = picture.shape[:2]
    parts: list[Features] = []
    for index, window in enumerate(split(picture, grid, pipeline.halo)):
        if index not in gone:
            part = features(index=index, grid=grid, width=width, height=height, sequence=sequence, **header)
            parts.append(msgspec.structs.replace(part, results=pipeline.run(window, sequence)))
    return ClosedFrame(
        header=parts[0].tile,
        outcome="partial" if gone else "complete",
        parts=tuple(parts),
        missing=tuple(divmod(index, grid.cols) for index in gone),
        tiles={},  # type: ignore[arg-type]  # counted elsewhere
        reason=None,
        arrived_s=0.0,
        pipeline=pipeline.digest,
        evidence=tuple(parts),
    )


def view(pipeline: Pipeline, picture: NDArray[Any], grid: Grid, **more: Any) -> FrameView:
    return merge_frame(closed(pipeline, picture, grid, **more), WholeSteps(pipeline))


BOTH = """
[[step]]
operator = "gaussian"
ksize = 5
[[step]]
name = "tiled"
operator = "canny"
[[step]]
name = "whole"
operator = "canny"
on = "frame"
[[step]]
name = "colours"
operator = "color_histogram"
[[step]]
name = "colours_of_the_frame"
operator = "color_histogram"
on = "frame"
[[step]]
name = "share"
operator = "statistics"
input = "tiled"
"""


@settings(max_examples=40)
@given(cuts(channels=(1, 3)))
def test_a_step_on_the_frame_gives_what_exact_tiles_give(case: Cut) -> None:
    found = view(parse(BOTH), case.pixels, case.grid)
    assert found.features["whole"] == found.features["tiled"]
    assert found.features["colours_of_the_frame"] == found.features["colours"]
    assert found.summary is not None
    assert found.features["share"]["mean"] == [round(255 * found.summary.pixels / (case.width * case.height), 4)]
    assert found.skipped == ()


def test_only_pixels_that_a_step_on_the_frame_needs_travel_and_only_when_it_is_due() -> None:
    pipeline = parse("""
[[step]]
operator = "gray"
[[step]]
operator = "fast"
[[step]]
operator = "faces"
on = "frame"
every = 3
""")
    (window,) = split(astronaut()[:64, :64], Grid(1, 1), 0)
    assert set(pipeline.run(window, 3)) == {"fast", "@gray"}
    assert set(pipeline.run(window, 4)) == {"fast"}
    assert pipeline.halo == OPERATORS["fast"].halo({})


def test_a_detector_on_the_frame_finds_what_it_finds_in_the_frame_whatever_the_grid() -> None:
    pipeline = parse('[[step]]\noperator = "faces"\non = "frame"\nmin_size_px = 40')
    expected = view(pipeline, astronaut(), Grid(1, 1)).objects
    assert [one.label for one in expected] == ["face"]
    for grid in (Grid(2, 2), Grid(3, 5)):
        assert view(pipeline, astronaut(), grid).objects == expected


def test_steps_that_need_pixels_are_skipped_on_frames_with_holes_and_say_so() -> None:
    found = view(parse(BOTH), photograph(96, 64), Grid(2, 2), gone=[1])
    assert found.features["whole"] == {"skipped": "the frame is partial"}
    assert set(found.skipped) == {"whole", "colours_of_the_frame", "share"}
    assert found.features["tiled"]["pixels"] >= 0


def test_steps_of_another_pipeline_than_the_tiles_are_not_run() -> None:
    frame = replace(closed(parse(BOTH), photograph(96, 64), Grid(2, 2)), pipeline="another")
    found = merge_frame(frame, WholeSteps(parse(BOTH)))
    assert "whole" not in found.features
    assert "tiled" in found.features


# --- operators made for the test ----------------------------------------------------------------------------


def turned(pixels: NDArray[Any], _params: Params) -> NDArray[Any]:
    return np.ascontiguousarray(np.rot90(pixels))


def turned_back(places: NDArray[np.float64], width: int, _height: int, _params: Params) -> NDArray[np.float64]:
    return np.stack([width - 1 - places[:, 1], places[:, 0]], axis=1)


def bright(window: Window, _params: Params) -> Result:
    rows, cols = np.nonzero(window.pixels > 200)
    box = np.asarray([[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]] if rows.size else np.zeros((0, 4)))
    return pack_boxes("bright", box, np.ones(len(box)), iou=0.4)


def broken(_window: Window, _params: Params) -> Result:
    raise ValueError("cannot be")


def counting(scene: Scene, memory: Memory, _params: Params) -> Sighting:
    """Counts frames with boxes; says so on each second one."""
    if scene.found is not None:
        assert isinstance(scene.found, Boxes)
        memory["count"] = memory.get("count", 0) + len(unpack_boxes(scene.found)[1])
    count = memory.get("count", 0)
    happened = (Occurrence(kind="rule", what="counted", data={"count": count}),) if count % 2 == 0 else ()
    return Sighting(result=Figures(values={"count": count}), occurrences=happened)


def operator(name: str, kind: Any, run: Any, **more: Any) -> Operator:
    return Operator(name=name, kind=kind, run=run, family="test", scope="frame", meaning=name, **more)


TURN = operator("turn", "transform", turned, accepts=("gray", "color"), back=turned_back)
BRIGHT = operator("bright", "measure", bright, gives="boxes")
BROKEN = operator("broken", "measure", broken)
COUNT = operator("count", "follower", counting, accepts=("boxes",), durable=True)


def step(row: Operator, below: str = "frame") -> Step:
    return Step(name=row.name, operator=row, parameters={}, input=below, on="frame")


def white_spot(x: int, y: int) -> NDArray[np.uint8]:
    picture = np.zeros((64, 96), np.uint8)
    cv2.rectangle(picture, (x, y), (x + 9, y + 4), 255, cv2.FILLED)
    return picture


def test_places_in_a_turned_picture_are_told_as_places_in_the_frame() -> None:
    pipeline = Pipeline(name="", steps=(step(TURN), step(BRIGHT, "turn")))
    (found,) = view(pipeline, white_spot(70, 20), Grid(2, 2)).objects
    assert found.box == (70, 20, 80, 25)


def test_a_step_that_fails_costs_its_own_result_alone() -> None:
    pipeline = Pipeline(name="", steps=(step(BROKEN), step(BRIGHT)))
    found = view(pipeline, white_spot(70, 20), Grid(1, 2))
    assert found.features == {"broken": {"skipped": "ValueError: cannot be"}}
    assert len(found.objects) == 1


FOLLOWED = Pipeline(name="", steps=(step(BRIGHT), step(COUNT, "bright")))


def test_a_follower_remembers_a_run_and_another_worker_takes_up_what_it_knew() -> None:
    first = WholeSteps(FOLLOWED)
    frames = [closed(FOLLOWED, white_spot(10 + 5 * number, 20), Grid(1, 2), sequence=number) for number in range(4)]
    views = [merge_frame(frame, first) for frame in frames[:2]]
    assert [one.features["count"]["count"] for one in views] == [1, 2]
    assert [[what.what for _, what in one.occurrences] for one in views] == [[], ["counted"]]
    second = WholeSteps(FOLLOWED)
    second.remember("cam", "run-1", first.memory("cam", "run-1"))
    again = [[merge_frame(frame, steps).features["count"] for frame in frames[2:]] for steps in (first, second)]
    assert again[0] == again[1] == [{"count": 3}, {"count": 4}]


def test_what_another_pipeline_knew_is_not_taken_up() -> None:
    first = WholeSteps(FOLLOWED)
    merge_frame(closed(FOLLOWED, white_spot(10, 20), Grid(1, 1)), first)
    other = WholeSteps(Pipeline(name="", steps=(step(BRIGHT), replace(step(COUNT, "bright"), every=2))))
    other.remember("cam", "run-1", first.memory("cam", "run-1"))
    assert other.memory("cam", "run-1") == b""


def test_what_is_known_is_not_replaced_by_what_was_known_before() -> None:
    steps = WholeSteps(FOLLOWED)
    merge_frame(closed(FOLLOWED, white_spot(10, 20), Grid(1, 1)), steps)
    old = steps.memory("cam", "run-1")
    merge_frame(closed(FOLLOWED, white_spot(10, 20), Grid(1, 1), sequence=1), steps)
    steps.remember("cam", "run-1", old)
    assert steps.memory("cam", "run-1") != old


def test_followers_of_findings_are_told_that_there_are_none_on_frames_with_holes() -> None:
    found = view(FOLLOWED, white_spot(10, 20), Grid(1, 2), gone=[1])
    assert found.features["count"] == {"count": 0}
    assert found.skipped == ("bright",)


def test_runs_that_are_remembered_are_bounded() -> None:
    steps = WholeSteps(FOLLOWED)
    frame = closed(FOLLOWED, white_spot(10, 20), Grid(1, 1))
    for number in range(MAX_RUNS + 1):
        merge_frame(replace(frame, header=msgspec.structs.replace(frame.header, run=f"run-{number}")), steps)
    assert steps.memory("cam", "run-0") == b""
    assert steps.memory("cam", f"run-{MAX_RUNS}") != b""


def test_pictures_are_remembered_of_few_runs_alone() -> None:
    pictured = Pipeline(name="", steps=(step(BRIGHT), step(replace(COUNT, durable=False), "bright")))
    steps = WholeSteps(pictured)
    frame = closed(pictured, white_spot(10, 20), Grid(1, 1))
    first = [
        merge_frame(replace(frame, header=msgspec.structs.replace(frame.header, run=f"run-{number}")), steps)
        for number in [*range(MAX_PICTURED + 1), 1, 0]
    ]
    assert [view.features["count"]["count"] for view in first[-2:]] == [2, 1]


def test_memory_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadMessage, match="memory of cam/run-1"):
        WholeSteps(FOLLOWED).remember("cam", "run-1", b"\xff\xff")
