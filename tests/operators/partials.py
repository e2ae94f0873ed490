"""Measures whose tiles give exact counts: merged, finished, and held against the whole frame."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from streamproc.aggregator.merging import merge_histograms
from streamproc.model import Figures, Grid, Histogram, Pixels
from streamproc.operators.table import Measure, Operator, Params
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut

WHOLE = Grid(1, 1)


def merged(row: Operator, picture: Pixels, params: Params, grid: Grid = WHOLE, halo: int = 0) -> Histogram:
    run = cast("Measure", row.run)
    parts = [run(window, params) for window in split(picture, grid, halo)]
    return merge_histograms([part for part in parts if isinstance(part, Histogram)])


def figures(row: Operator, counts: Histogram, params: Params) -> dict[str, Any]:
    finish = row.finish
    assert finish is not None
    found = finish(counts, params)
    assert isinstance(found, Figures)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found.values)) == found.values
    return found.values


def of_frame(row: Operator, picture: Pixels, params: Params) -> dict[str, Any]:
    return figures(row, merged(row, picture, params), params)


def assert_tiles_are_the_frame(row: Operator, case: Cut, params: Params) -> None:
    tiles = merged(row, case.pixels, params, case.grid, row.halo(params) + case.extra_halo)
    assert tiles == merged(row, case.pixels, params)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(tiles), type=Histogram) == tiles
