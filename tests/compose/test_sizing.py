"""The arithmetic of the sizing guide, and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from typer.testing import CliRunner

from compose.__main__ import app
from compose.sizing import (
    BROKER_CORES,
    BROKER_NETWORK_BYTES,
    BROKER_REPLICAS,
    KERNEL_S,
    MB,
    MOST_PARTITIONS,
    REPLICATION,
    SIZES,
    TILES_KEPT_BYTES,
    TOPICS,
    UTILISATION,
    Cameras,
    Size,
    plan,
)
from compose.sizing_command import PAGE, with_tables
from streamproc.agents.extract import THUMBNAIL_SIDE_PX, thumbnail_scale
from streamproc.errors import UsageError
from streamproc.settings import Settings
from streamproc.topics import Topics

if TYPE_CHECKING:
    from streamproc.model import TileHeader

ONE = Cameras(count=1, size=SIZES["720p"], fps=10, pictures=0, viewers=0)


def test_one_camera_is_worked_out_as_by_hand() -> None:
    found = plan(ONE)
    assert found.tiles == 4
    assert found.tiles_s == 40
    around = 40 * 0.65e-3 + 10 * 201_333 * (0.8e-3 / 37_000)
    kernels = 10 * 1280 * 720 * 2.6e-3 / (640 * 384)
    assert found.extract_cores == pytest.approx(kernels + around * (1 - 0.95 / 1.4), rel=0.001)
    assert found.aggregate_cores == pytest.approx(around * 0.3 / 1.4, rel=0.001)
    assert found.broker_cores == pytest.approx(around * 0.65 / 1.4 * 3, rel=0.001)
    features = 1280 * 720 / 8 + 4 * 1200
    assert found.written == pytest.approx(10 * (201_333 + features + 1100), rel=0.001)
    assert found.broker_in == pytest.approx(found.written)  # three copies on three brokers
    assert (found.brokers, found.partitions) == (3, 8)


def test_the_cpu_time_of_a_tile_agrees_with_what_the_bench_measured() -> None:
    """docs/performance.md: 4.33 ms for a tile of 640x384, edges alone, broker (one copy) included."""
    tile = 640 * 384
    around = 0.65e-3 + 50_000 * (0.8e-3 / 37_000)
    assert KERNEL_S["edges"] * tile + around == pytest.approx(4.33e-3, rel=0.02)


def test_needs_grow_with_cameras_rate_pixels_and_pictures_and_shrink_with_changed_only() -> None:
    base = plan(ONE)
    for more in (
        replace(ONE, count=10),
        replace(ONE, fps=20),
        replace(ONE, size=SIZES["1080p"]),
        replace(ONE, pipeline="builtin"),
        replace(ONE, pictures=5),
    ):
        assert plan(more).cores > base.cores
    assert plan(replace(ONE, count=10)).written == pytest.approx(10 * base.written)
    assert plan(replace(ONE, changed_only=True)).broker_in < base.broker_in
    assert plan(replace(ONE, viewers=5, pictures=5)).broker_out > plan(replace(ONE, pictures=5)).broker_out
    assert plan(replace(ONE, archived=True)).broker_out > base.broker_out


@pytest.mark.parametrize("count", [1, 10, 100, 1000, 10_000])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_plan_asks_more_of_a_broker_than_it_can_bear(count: int, size: Size) -> None:
    for fps in (1, 5, 15):
        for changed in (False, True):
            found = plan(Cameras(count=count, size=size, fps=fps, changed_only=changed))
            assert found.broker_in <= BROKER_NETWORK_BYTES
            assert found.broker_out <= BROKER_NETWORK_BYTES
            assert found.partitions * TOPICS * REPLICATION / found.brokers <= BROKER_REPLICAS
            assert found.partitions.bit_count() == 1
            assert found.tiles_kept_s <= 3600


def test_what_breaks_is_told() -> None:
    assert plan(Cameras(count=1, size=SIZES["480p"], fps=1)).breaks == ()
    told = " ".join(plan(Cameras(count=10_000, size=SIZES["4K"], fps=15)).breaks)
    for word in ("STREAMPROC_TILES_KEPT_BYTES", "ingest", "other", "STREAMPROC_WORKER_THREADS", "three brokers"):
        assert word in told


def test_what_cannot_be_is_refused() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"count": 0},
        {"fps": 0},
        {"viewers": -1},
        {"pipeline": "magic"},
        {"pictures": 6},
    )
    for wrong in wrongs:
        with pytest.raises(UsageError, match="cannot be worked out"):
            replace(ONE, **wrong)


def test_the_figures_that_the_code_itself_has_are_the_code_s() -> None:
    assert (
        next(limit.le for limit in Settings.model_fields["partitions"].metadata if hasattr(limit, "le"))
        == MOST_PARTITIONS
    )
    for partitions in (8, 64):
        (tiles,) = (spec for spec in Topics("").specs(partitions=partitions) if spec.name == "tiles")
        assert int(tiles.config["retention.bytes"]) * partitions == TILES_KEPT_BYTES
        assert tiles.config["retention.ms"] == "3600000"
    assert THUMBNAIL_SIDE_PX == 640
    for size in SIZES.values():
        header = cast("TileHeader", SimpleNamespace(frame_width=size.width, frame_height=size.height))
        scale = thumbnail_scale(header)
        assert size.thumbnail_pixels == (size.width // scale) * (size.height // scale)


def test_the_guide_has_the_tables_that_the_calculator_makes() -> None:
    assert with_tables(PAGE.read_text()) == PAGE.read_text(), "run: python -m compose sizing --tables"


def test_what_the_guide_says_in_short_is_what_comes_out() -> None:
    page = PAGE.read_text()
    as_it_comes = Cameras(count=1, size=SIZES["720p"], fps=5)
    assert plan(replace(as_it_comes, count=247)).brokers == 3
    first_too_many = plan(replace(as_it_comes, count=248))
    assert first_too_many.brokers == 4
    assert first_too_many.broker_cores > 3 * BROKER_CORES * UTILISATION
    assert 248 * plan(as_it_comes).written * REPLICATION / 3 > 0.8 * BROKER_NETWORK_BYTES
    assert "bear 247 cameras of 720p at 5 frames a second. Their processors fill first" in page
    hundred, blind = plan(replace(as_it_comes, count=100)), plan(replace(as_it_comes, count=100, pictures=0))
    assert f"{hundred.written / 100 / MB:.1f} MB/s into Kafka" in page
    assert f"{(hundred.written - blind.written) / 100 / MB:.1f} the pictures for viewers" in page
    assert (hundred.written - blind.written) / hundred.written == pytest.approx(0.4, abs=0.02)
    assert f"{(hundred.extract_cores + hundred.aggregate_cores) / 0.5 / 100:.2f} of a core each" in page
    builtin = plan(replace(as_it_comes, count=100, pipeline="builtin"))
    assert f"{(builtin.extract_cores + builtin.aggregate_cores) / 0.5 / 100:.2f} for one camera" in page
    sparing = plan(replace(as_it_comes, count=100, pictures=1))
    assert f"takes that to {sparing.written / 100 / MB:.1f} MB/s" in page


def test_the_command_tells_a_person_and_a_machine() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["sizing", "--cameras", "100", "--core-price", "10", "--gb-price", "0.1"])
    assert shown.exit_code == 0
    assert "workers of one core" in shown.output
    assert "a month, all and one camera" in shown.output
    told = json.loads(runner.invoke(app, ["sizing", "--cameras", "100", "--json"]).output)
    assert told["brokers"] == 3
    assert told["written"] == pytest.approx(plan(Cameras(count=100, size=SIZES["720p"], fps=5)).written)
    assert told["written"] > 100 * MB
    refused = runner.invoke(app, ["sizing", "--size", "8K"])
    assert isinstance(refused.exception, UsageError)
    assert "480p, 720p, 1080p, 4K" in str(refused.exception)
