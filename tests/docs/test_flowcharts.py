"""Flowcharts are read as Mermaid reads them, and drawn so that nothing lies on anything else."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from tests.docs.blocks import blocks_of, pages
from tests.docs.flowcharts import drawn, parse, told
from tests.docs.layout import WIDEST, placed

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


@pytest.mark.parametrize("place", CHARTS)
def test_no_drawing_is_wider_than_a_page_can_show(place: str) -> None:
    assert placed(parse(CHARTS[place])).size[0] <= WIDEST


def test_a_chart_that_is_too_wide_goes_down() -> None:
    names = [f"a box with a long name {number}" for number in range(8)]
    text = "flowchart LR\n" + "\n".join(
        f"    n{number}[{one}] --> n{number + 1}[{other}]"
        for number, (one, other) in enumerate(itertools.pairwise(names))
    )
    width, height = placed(parse(text)).size
    assert width < 300 < height


@pytest.mark.parametrize("way", ["LR", "TD"])
def test_an_edge_that_leads_back_and_its_words_stay_inside_the_drawing(way: str) -> None:
    places = placed(parse(f"flowchart {way}\n    a --> b\n    b -- once more from the beginning --> a"))
    width, height = places.size
    x, y = places.labels[1]
    assert 0 < y < height
    assert 3.2 * 28 < x < width - 3.2 * 28
    numbers = [float(number) for number in re.findall(r"[\d.]+", places.paths[1])]
    assert max(numbers[0::2]) < width
    assert 0.75 * max(numbers[1::2]) < height


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return all(one[at] < other[at] + other[at + 2] and other[at] < one[at] + one[at + 2] for at in (0, 1))


def test_a_drawing_is_whole_and_the_same_each_time() -> None:
    text = "flowchart TD\n    a[<b> & c] --> b[(store)]\n    b -- again --> a"
    root = ET.fromstring(drawn(text))  # noqa: S314 - our own text
    assert drawn(text) == drawn(text)
    assert "<b> & c" in [element.text for element in root.iter() if element.text]
    assert root.attrib["role"] == "img"
    assert "store to <b> & c (again)" in root.attrib["aria-label"]
