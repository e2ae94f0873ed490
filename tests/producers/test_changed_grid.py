"""The grid where only changed tiles are sent: within bounds, worth it, and honest where it is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, reject

from producers.changed_grid import REFERENCE_BYTES, choose_changed_grid, expected_bytes
from producers.grids import Demand
from streamproc.errors import UsageError
from streamproc.model import Grid
from tests.producers.test_grids import PHOTO, demands, largest_tile


@given(demand=demands())
def test_a_chosen_grid_fits_and_costs_no_more_than_one_tile(demand: Demand) -> None:
    try:
        grid = choose_changed_grid(demand).grid
    except UsageError:
        reject()
    assert largest_tile(demand, grid) <= demand.max_bytes + 1
    if demand.frame_bytes * demand.densest / demand.bytes_per_pixel <= demand.max_bytes:
        assert expected_bytes(demand, grid) <= expected_bytes(demand, Grid(1, 1))
    assert expected_bytes(demand, grid, moving=False) == grid.count * REFERENCE_BYTES


@pytest.mark.parametrize(("halo", "least"), [(0, 0.7), (16, 0.6), (32, 0.5)])
def test_most_is_saved_where_a_pipeline_looks_little_around_its_tiles(halo: int, least: float) -> None:
    choice = choose_changed_grid(_demand(halo))
    saved = 1 - expected_bytes(PHOTO, choice.grid) / PHOTO.frame_bytes
    assert saved >= least
    assert "it would be more" not in choice.reason


def test_a_pipeline_that_looks_far_is_told_of() -> None:
    choice = choose_changed_grid(_demand(96))
    assert "it would be more with a pipeline that looks less than 96 px around its tiles" in choice.reason
    told = re.search(r"about ([0-9]+)% is saved, of one in which nothing does ([0-9]+)%", choice.reason)
    assert told is not None
    assert int(told[1]) < 60
    assert int(told[2]) > 95


def test_frames_that_no_grid_fits_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="STREAMPROC_MAX_TILE_BYTES"):
        choose_changed_grid(
            Demand(**{**{name: getattr(PHOTO, name) for name in PHOTO.__slots__}, "max_bytes": 1000, "halo": 200})
        )


def _demand(halo: int) -> Demand:
    return Demand(**{**{name: getattr(PHOTO, name) for name in PHOTO.__slots__}, "halo": halo})
