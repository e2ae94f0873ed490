"""Drawings of boxes and lines: all inside, nothing on top of each other, each line between two boxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest

from streamproc.operators.pipeline_file import default_pipeline
from streamproc.report import Stage
from streamproc.report.graph import Drawing, Node, across, down, stage_nodes, step_nodes
from tests.report.making import STAGES


def assert_sound(drawing: Drawing) -> None:
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - drawing.box_width
        assert 0 <= box.y <= drawing.height - drawing.box_height
        assert all(box.x < lane < box.x + drawing.box_width for lane in box.lanes)
        assert box.y < box.baseline < box.y + drawing.box_height
    for one, other in combinations(drawing.boxes, 2):
        apart = abs(one.x - other.x) >= drawing.box_width or abs(one.y - other.y) >= drawing.box_height
        assert apart, f"{one.name} lies on {other.name}"
    for curve in drawing.curves:
        assert re.fullmatch(r"M[-\d. CVH]+", curve)


@pytest.mark.parametrize("draw", [across, down])
@pytest.mark.parametrize(
    "nodes", [stage_nodes(STAGES), step_nodes(default_pipeline().describe())], ids=["stages", "steps"]
)
def test_boxes_never_overlap(draw: Callable[[Sequence[Node]], Drawing], nodes: list[Node]) -> None:
    drawing = draw(nodes)
    assert len(drawing.boxes) == len(nodes)
    assert len(drawing.curves) == len(nodes) - 1
    assert_sound(drawing)


def test_topics_side_by_side_are_fed_by_the_same_stage() -> None:
    nodes = {node.name: node for node in stage_nodes(STAGES)}
    assert nodes["events"].inputs == nodes["edges"].inputs == nodes["deadletters"].inputs
    assert nodes["events"].inputs == (nodes["assemble x2"].key,)
    assert nodes["builtin"].inputs == ()


def test_a_stage_after_two_topics_is_fed_by_both() -> None:
    stages = [
        Stage(name="a", detail="", kind="topic"),
        Stage(name="b", detail="", kind="topic"),
        Stage(name="sink", detail=""),
    ]
    drawing = across(stage_nodes(stages))
    assert len(drawing.curves) == 2
    assert_sound(drawing)
    assert_sound(down(stage_nodes(stages)))


def test_steps_hang_on_what_they_take_their_pixels_from() -> None:
    nodes = {node.key: node for node in step_nodes(default_pipeline().describe())}
    assert nodes["frame"].kind == "source"
    assert nodes["gray"].inputs == ("frame",)
    assert nodes["edges"].inputs == ("gray",)
    assert "halo 2 px" in nodes["edges"].lines


def test_unknown_inputs_and_cycles_do_no_harm() -> None:
    nodes = [Node(key="a", name="a", inputs=("b", "gone", "a")), Node(key="b", name="b", inputs=("a",))]
    assert_sound(across(nodes))
    assert_sound(down(nodes))
    assert across([]).boxes == ()


def test_long_texts_are_cut_and_kept_as_tooltip() -> None:
    (box,) = across([Node(key="a", name="n" * 80, lines="word " * 40, count="c" * 80, lanes=99)]).boxes
    assert len(box.name) <= 17
    assert len(box.lines) == 2
    assert len(box.lanes) == 12
    assert "n" * 80 in box.title
