"""Series cut down for plots: nothing is lost in sums, nothing is longer than a plot is wide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.report import series
from streamproc.report.facts import frame_facts
from tests.report.making import event_of


@given(st.integers(0, 5_000), st.integers(1, 300))
def test_bins_cover_everything_once(length: int, most: int) -> None:
    edges = series.bounds(length, most)
    assert edges[0] == 0
    assert edges[-1] == length
    assert len(edges) - 1 == min(length, most)
    assert (np.diff(edges) > 0).all()


def test_hops_and_the_rest_add_up_to_the_total() -> None:
    event = event_of(0)
    event["data"]["latency_ms"] = {"publish": 10.0, "wait": 20.0, "total": 50.0}
    names, (part,) = series.hop_shares(frame_facts([event]))
    assert names == ["publish", "wait", "other"]
    assert part == {"publish": 10.0, "wait": 20.0, "other": 20.0}


def test_more_hops_than_colours_end_in_the_rest() -> None:
    event = event_of(0)
    event["data"]["latency_ms"] = {f"hop{index}": 1.0 for index in range(20)} | {"total": 20.0}
    names, (part,) = series.hop_shares(frame_facts([event]))
    assert len(names) == series.MAX_HOPS
    assert sum(part.values()) == pytest.approx(20.0)


def test_a_long_run_is_binned_and_its_slowest_frame_kept() -> None:
    events = [event_of(index) for index in range(3_000)]
    events[1_234]["data"]["latency_ms"]["total"] = 9_999.0
    hops = series.hop_series(frame_facts(events))
    assert hops is not None
    assert hops.binned
    assert len(hops.slowest) == series.MAX_BINS
    assert hops.slowest.max() == 9_999.0


def test_no_latency_makes_no_series() -> None:
    event = event_of(0)
    event["data"]["latency_ms"] = {}
    assert series.hop_series(frame_facts([event])) is None
    assert series.hop_series([]) is None


def test_unknown_values_are_left_out_of_means() -> None:
    means = series.binned_mean([1.0, np.nan, 3.0, np.nan], np.asarray([0, 2, 3, 4]))
    assert means[:2].tolist() == [1.0, 3.0]
    assert np.isnan(means[2])


def test_rates_count_every_event() -> None:
    times = [index * 40_000_000 for index in range(250)]
    found = series.rate_series(times, 0, times[-1])
    assert found is not None
    edges, rates = found
    assert len(rates) <= 60
    assert float((rates * np.diff(edges)).sum()) == pytest.approx(250)
    assert series.rate_series([5], 5, 5) is None


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=200))
@example([4.6e-277, 2.3e-308, 2.3e-308])
@example([0.5])
def test_a_histogram_counts_every_value(values: list[float]) -> None:
    edges, numbers, _ = series.histogram(values)
    assert numbers.sum() == len(values)
    assert (np.diff(edges) > 0).all()


def test_a_long_tail_is_drawn_by_factors() -> None:
    assert series.histogram([10.0] * 99 + [5_000.0])[2]
    assert not series.histogram([10.0, 12.0, 15.0])[2]
