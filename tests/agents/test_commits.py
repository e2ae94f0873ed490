"""Offsets are committed up to the first record that is not finished, and a failed commit is none."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import Consumer as Original
from faust.transport.drivers.aiokafka import Consumer as Unmended
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from intervaltree import IntervalTree

from streamproc.agents.transport import Consumer

TILES = TP("tiles", 3)


def _consumer(kind: type[Any] = Consumer, *, committed: int | None = None, first: int | None = None) -> Any:
    consumer: Any = object.__new__(kind)
    consumer.__dict__.update(
        _next={} if first is None else {TILES: first},
        _sought={},
        _lacking={},
        read_at={},
        _firsts={},
        _going_back=set(),
        _gone_back=True,
        _fetches=0,
        _gap=defaultdict(IntervalTree),
        _acked=defaultdict(list),
        _acked_index=defaultdict(set),
        _committed_offset=defaultdict(lambda: None, {TILES: committed}),
        _heads={} if first is None else {TILES: first},
    )
    return consumer


def _acknowledge(consumer: Any, *offsets: int) -> None:
    for offset in offsets:
        consumer._acked[TILES].append(offset)
        consumer._acked_index[TILES].add(offset)


@pytest.mark.parametrize("first", [0, 2585])
def test_an_unfinished_record_at_the_head_is_not_jumped(first: int) -> None:
    consumer = _consumer(committed=first or None, first=first)
    _acknowledge(consumer, first + 1, first + 2, first + 3)
    assert consumer._new_offset(TILES) == first
    _acknowledge(consumer, first)
    assert consumer._new_offset(TILES) == first + 4


def test_faust_still_jumps_it() -> None:
    """If this fails, faust-streaming #606 is mended: `_new_offset` may go."""
    consumer = _consumer(Unmended, committed=2585)
    _acknowledge(consumer, 2586, 2587, 2588)
    assert Original._new_offset(consumer, TILES) == 2589


def test_offsets_that_hold_no_record_are_passed() -> None:
    consumer = _consumer(committed=10, first=12)
    consumer._gap[TILES].addi(14, 17)
    _acknowledge(consumer, 12, 13, 17)
    assert consumer._new_offset(TILES) == 18
    assert not consumer._gap[TILES]


def test_nothing_read_is_nothing_to_commit() -> None:
    assert _consumer()._new_offset(TILES) is None


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_whatever_the_order_no_commit_passes_an_unfinished_record(order: list[int], missing: set[int]) -> None:
    consumer = _consumer(first=0)
    for low in sorted(missing):
        consumer._gap[TILES].addi(low, low + 1)
    finished: set[int] = set(missing)
    for offset in order:
        if offset not in missing:
            _acknowledge(consumer, offset)
            finished.add(offset)
        expected = next(position for position in range(13) if position not in finished)
        assert consumer._new_offset(TILES) == expected
        assert consumer._new_offset(TILES) == expected


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_failed_commit_is_not_noted_and_is_tried_again(succeeds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def commit(self: Any, offsets: dict[TP, int], start_new_transaction: bool = True) -> bool:
            self._committed_offset.update(offsets)  # as Faust does, whatever came of it
            return succeeds

        monkeypatch.setattr(Original, "_commit_offsets", commit)
        consumer = _consumer(committed=5, first=5)
        _acknowledge(consumer, 5, 6)
        assert await consumer._commit_offsets({TILES: consumer._new_offset(TILES)}) is succeeds
        assert consumer._committed_offset[TILES] == (7 if succeeds else 5)
        assert consumer._filter_committable_offsets([TILES]) == ({} if succeeds else {TILES: 7})

    asyncio.run(main())


def test_faust_still_notes_a_failed_commit_as_done() -> None:
    """If this fails, faust-streaming #316 is mended: `_commit_offsets` may go."""

    async def main() -> None:
        async def nothing(*_args: Any, **_options: Any) -> bool:
            return False

        consumer = _consumer(Unmended, committed=5)
        consumer.__dict__.update(
            log=SimpleNamespace(dev=lambda *_: None, info=lambda *_: None),
            app=SimpleNamespace(
                producer=SimpleNamespace(flush=nothing), monitor=SimpleNamespace(on_tp_commit=lambda _: None)
            ),
            assignment=lambda: {TILES},
            in_transaction=False,
            _commit=nothing,
        )
        assert await Original._commit_offsets(consumer, {TILES: 7}) is False
        assert consumer._committed_offset[TILES] == 7

    asyncio.run(main())


def test_after_an_assignment_reading_begins_at_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def seek(self: Any) -> None:
            self._committed_offset[TILES] = 33

        monkeypatch.setattr(Original, "perform_seek", seek)
        consumer = _consumer(first=40)
        _acknowledge(consumer, 41)
        consumer.assignment = lambda: {TILES, TP("tiles", 4)}
        consumer._gone_back = False
        consumer.add_future = lambda coroutine: coroutine.close()  # of the partition that has no commit
        await consumer.perform_seek()
        assert consumer._heads == consumer._next == {TILES: 33}
        assert consumer._new_offset(TILES) == 33
        _acknowledge(consumer, 33)
        await consumer.perform_seek()  # again for the same assignment
        assert consumer._new_offset(TILES) == 34

    asyncio.run(main())
