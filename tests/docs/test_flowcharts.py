"""Flowcharts are read as Mermaid reads them, and drawn so that nothing lies on anything else."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from tests.docs.blocks import blocks_of, pages
from tests.docs.flowcharts import drawn, parse, told
from tests.docs.layout import placed

CHARTS = {block.place: block.text for page in pages() for block in blocks_of(page) if block.language == "mermaid"}


def test_nodes_edges_and_groups_are_read() -> None:
    chart = parse(
        'flowchart LR\n    a[one] --> b[(two)] & c{"three"}\n    subgraph some words\n        d(four)\n    end\n'
        "    b -. why .-> d %% a word\n    c -->|then| d\n    c --- a"
    )
    assert [(node.text, node.shape, node.group) for node in chart.nodes.values()] == [
        ("one", "box", None),
        ("two", "store", None),
        ("three", "choice", None),
        ("four", "round", "some words"),
    ]
    assert [(edge.start, edge.end, edge.line, edge.text) for edge in chart.edges] == [
        ("a", "b", "solid", ""),
        ("a", "c", "solid", ""),
        ("b", "d", "dotted", "why"),
        ("c", "d", "solid", "then"),
        ("c", "a", "plain", ""),
    ]
    assert told(chart).startswith("Flowchart: one to two; one to three; two to four (why)")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("graph LR\n a --> b", "begins with"),
        ("flowchart LR\n a ==> b", "'==> b'"),
        ("flowchart LR\n a -->", "expected a node"),
        ("flowchart LR\n subgraph x\n subgraph y", "inside another"),
        ("flowchart LR\n classDef blue fill:#00f", "classDef"),
    ],
)
def test_what_is_not_known_is_refused_by_its_line(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wanted)):
        parse(text)


@pytest.mark.parametrize("place", CHARTS)
def test_no_box_lies_on_another_nor_inside_a_frame_that_is_not_its_own(place: str) -> None:
    chart = parse(CHARTS[place])
    places = placed(chart)
    for (_, one), (_, other) in itertools.combinations(places.boxes.items(), 2):
        assert not _overlap(one, other)
    for title, frame in places.groups.items():
        for name, box in places.boxes.items():
            assert _overlap(frame, box) == (chart.nodes[name].group == title), f"{title}, {name}"


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return all(one[at] < other[at] + other[at + 2] and other[at] < one[at] + one[at + 2] for at in (0, 1))


def test_a_drawing_is_whole_and_the_same_each_time() -> None:
    text = "flowchart TD\n    a[<b> & c] --> b[(store)]\n    b -- again --> a"
    root = ET.fromstring(drawn(text))  # noqa: S314 - our own text
    assert drawn(text) == drawn(text)
    assert "<b> & c" in [element.text for element in root.iter() if element.text]
    assert root.attrib["role"] == "img"
    assert "store to <b> & c (again)" in root.attrib["aria-label"]
