"""Results that are known: found for the same pixels, place and steps alone, and held within bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamproc.agents.recall import Known, Recall
from streamproc.errors import BadMessage
from streamproc.model import Histogram, TileHeader
from tests.features import tile_header

DUE = ("edges",)


def known(*, numbers: int = 3, **changes: Any) -> Known:
    header = msgspec.structs.replace(tile_header(), base=True, **changes)
    return Known(header=header, results={"edges": Histogram(counts=[list(range(numbers))])}, thumbnail=b"")


def naming(offset: int, **changes: Any) -> TileHeader:
    return msgspec.structs.replace(tile_header(), same_as=offset, **changes)


def test_what_is_known_is_found_for_the_same_steps() -> None:
    recall = Recall(bound_bytes=10**6)
    kept = known()
    recall.keep(kept, partition=2, offset=40, due=DUE)
    assert recall.find(naming(40), partition=2, due=DUE) is kept
    assert recall.find(naming(41), partition=2, due=DUE) is None
    assert recall.find(naming(40), partition=1, due=DUE) is None
    assert recall.find(naming(40), partition=2, due=()) is None
    assert recall.find(naming(40, preview=True), partition=2, due=DUE) is None
    assert recall.find(tile_header(), partition=2, due=DUE) is None


@pytest.mark.parametrize(
    ("changes", "reason"), [({"camera": "other"}, "base"), ({"payload_digest": b"12345678"}, "checksum")]
)
def test_what_is_known_of_another_place_or_of_other_pixels_is_refused(changes: dict[str, Any], reason: str) -> None:
    recall = Recall(bound_bytes=10**6)
    recall.keep(known(), partition=2, offset=40, due=DUE)
    with pytest.raises(BadMessage) as refused:
        recall.find(naming(40, **changes), partition=2, due=DUE)
    assert refused.value.reason == reason


def test_the_results_used_last_stay_within_the_bound() -> None:
    recall = Recall(bound_bytes=5000)
    for offset in range(4):
        recall.keep(known(), partition=2, offset=offset, due=DUE)
        assert recall.find(naming(0), partition=2, due=DUE)
        assert recall.held_bytes <= 5000
    assert recall.find(naming(1), partition=2, due=DUE)
    recall.keep(known(), partition=2, offset=9, due=DUE)
    assert [recall.find(naming(offset), partition=2, due=DUE) is not None for offset in range(4)] == [
        True,
        True,
        False,
        True,
    ]
    before = recall.held_bytes
    recall.keep(known(numbers=5000), partition=2, offset=50, due=DUE)  # larger than the whole bound
    assert recall.held_bytes == before
