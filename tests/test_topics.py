"""Partitions: a frame's tiles spread evenly, one tile position stays, and the function never changes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model import FrameKey
from streamproc.settings import load_settings
from streamproc.topics import Topics, camera_partition, features_key, tile_key, tile_partition
from tests.features import tile_header


@given(st.text(max_size=40), st.integers(1, 64), st.integers(1, 200))
def test_tiles_of_a_frame_spread_evenly(camera: str, partitions: int, tiles: int) -> None:
    counts = Counter(tile_partition(camera, index, partitions) for index in range(tiles))
    assert max(counts.values()) - (min(counts.values()) if len(counts) == partitions else 0) <= 1
    assert set(counts) <= set(range(partitions))


@pytest.mark.parametrize(
    ("camera", "partition"), [("gate", 4), ("demo", 0), ("cam-0", 6), ("cam-1", 0), ("Tür-ä", 5), ("", 0)]
)
def test_a_camera_stays_on_the_partition_it_always_had(camera: str, partition: int) -> None:
    assert camera_partition(camera, 8) == partition


def test_keys_name_what_they_are_of() -> None:
    assert tile_key(tile_header(index=3)) == b"cam/run-1/1/1"
    assert features_key(FrameKey("cam", "run-1", 9)) == b"cam/run-1"


def test_all_topics_carry_the_prefix_one_partition_count_and_explicit_configs() -> None:
    specs = Topics("site-a.").specs(partitions=6)
    assert [spec.name for spec in specs] == [
        "site-a.tiles",
        "site-a.features",
        "site-a.events",
        "site-a.edges",
        "site-a.deadletters",
    ]
    assert {spec.partitions for spec in specs} == {6}
    for spec in specs:
        assert {"retention.ms", "max.message.bytes", "cleanup.policy", "compression.type"} <= set(spec.config)


def test_the_log_keeps_as_many_tiles_as_the_setting_says() -> None:
    settings = load_settings(partitions=4, tiles_kept_bytes=2**32)
    specs = Topics("").specs(partitions=settings.partitions, tiles_bytes=settings.tiles_kept_bytes)
    assert [spec.config["retention.bytes"] for spec in specs if "retention.bytes" in spec.config] == [str(2**30)]
