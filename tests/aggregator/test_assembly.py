"""Assembly: every frame that was seen leaves exactly once, in order, whatever its tiles do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.aggregator.assembly import Assembler, ClosedFrame, Limits
from streamproc.aggregator.frames import OVERHEAD_BYTES
from streamproc.model import Features, Grid, Rect, Refusal
from tests.features import features

LIMITS = Limits(deadline_s=10, min_coverage=0.5, max_frames=100, max_bytes=1_000_000)


class Feed:
    """An assembler with a clock and offsets."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.assembler = Assembler(limits)
        self.now_s = 0.0
        self.offset = 0
        self.settled: Counter[str] = Counter()
        self.done: list[ClosedFrame] = []

    def add(self, part: Features, *, size_bytes: int = 1000) -> None:
        outcome = self.assembler.add(part, size_bytes=size_bytes, offset=self.offset, now_s=self.now_s)
        self.offset += 1
        if outcome is not None:
            self.settled[outcome] += 1
        self.done += self.assembler.finish(self.now_s)

    def frame(self, sequence: int, indexes: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        for index in indexes:
            self.add(features(index=index, sequence=sequence))

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.done += self.assembler.finish(self.now_s)

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        return [(closed.header.sequence, closed.outcome) for closed in self.done]

    def tiles(self) -> Counter[str]:
        return self.settled + sum((closed.tiles for closed in self.done), Counter())


def test_a_frame_with_all_its_tiles_is_complete_at_once() -> None:
    feed = Feed()
    feed.frame(0)
    assert feed.outcomes == [(0, "complete")]
    assert feed.done[0].missing == ()
    assert [part.tile.index for part in feed.done[0].parts] == [0, 1, 2, 3]
    assert feed.tiles() == {"merged": 4}
    assert (feed.assembler.open_frames, feed.assembler.open_bytes) == (0, 0)


@given(st.lists(st.integers(0, 3), max_size=20).map(lambda extra: [0, 1, 2, 3, *extra]).flatmap(st.permutations))
def test_any_order_with_repeats_gives_one_complete_frame(order: list[int]) -> None:
    feed = Feed()
    for index in order:
        feed.add(features(index=index))
    assert feed.outcomes == [(0, "complete")]
    assert feed.tiles() == Counter(merged=4, duplicate=len(order) - 4)


@given(
    st.integers(1, 6).flatmap(
        lambda frames: st.permutations([(sequence, index) for sequence in range(frames) for index in range(4)])
    )
)
def test_frames_leave_in_order_of_their_sequence_however_their_tiles_come(
    order: list[tuple[int, int]],
) -> None:
    feed = Feed()
    for sequence, index in order:
        feed.add(features(index=index, sequence=sequence))
    frames = len(order) // 4
    assert feed.outcomes == [(sequence, "complete") for sequence in range(frames)]
    assert feed.assembler.needed_offset() is None


def test_a_missing_tile_ends_the_frame_partial_at_its_deadline_and_names_the_hole() -> None:
    feed = Feed()
    feed.frame(0, (0, 1, 3))
    feed.wait(9.9)
    assert feed.done == []
    feed.wait(0.1)
    assert feed.outcomes == [(0, "partial")]
    assert feed.done[0].missing == ((1, 0),)
    assert feed.done[0].reason == "deadline: 3 of 4 tiles"


def test_too_few_tiles_end_the_frame_expired_without_results() -> None:
    feed = Feed()
    feed.frame(0, (2,))
    feed.wait(10)
    assert feed.outcomes == [(0, "expired")]
    assert feed.done[0].parts == ()
    assert feed.tiles() == {"rejected": 1}


def test_a_tile_after_its_frame_has_left_is_late_and_a_repeated_one_a_duplicate() -> None:
    feed = Feed()
    feed.frame(0, (0, 1, 3))
    feed.wait(10)
    feed.add(features(index=2))
    feed.add(features(index=0))
    assert feed.outcomes == [(0, "partial")]
    assert feed.settled == {"late": 1, "duplicate": 1}


def test_a_later_frame_waits_for_the_one_before_it() -> None:
    feed = Feed()
    feed.frame(0, (0,))
    feed.frame(1)
    assert feed.done == []
    assert feed.assembler.needed_offset() == 0
    feed.wait(10)
    assert feed.outcomes == [(0, "expired"), (1, "complete")]


def test_a_hole_in_the_sequence_is_waited_for_and_then_passed() -> None:
    feed = Feed()
    feed.frame(0)
    feed.frame(2)
    assert feed.outcomes == [(0, "complete")]
    feed.wait(10)
    assert feed.outcomes == [(0, "complete"), (1, "expired"), (2, "complete")]
    assert feed.done[1].missing == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert feed.tiles() == {"merged": 8}
    feed.frame(1)
    assert len(feed.done) == 3
    assert feed.settled == {"duplicate": 4}


def test_a_run_seen_from_its_middle_on_has_no_frames_before_it() -> None:
    feed = Feed()
    feed.frame(500)
    feed.wait(10)
    feed.frame(501)
    assert feed.outcomes == [(500, "complete"), (501, "complete")]


def test_a_run_that_was_sent_from_its_middle_on_is_not_waited_for_below_it() -> None:
    feed = Feed()
    for index in range(4):
        feed.add(features(index=index, sequence=500, first=500))
    assert feed.outcomes == [(500, "complete")]
    feed.add(features(index=0, sequence=502, first=500))
    feed.wait(10)
    assert feed.outcomes[1:] == [(501, "expired"), (502, "expired")]


def test_the_lowest_that_any_tile_names_counts_until_a_frame_is_out() -> None:
    feed = Feed()
    feed.add(features(index=0, sequence=7, first=7))
    for sequence in (6, 5):
        for index in range(4):
            feed.add(features(index=index, sequence=sequence, first=5))
    assert feed.outcomes == [(5, "complete"), (6, "complete")]
    for index in range(4):
        feed.add(features(index=index, sequence=3, first=3))
    for index in range(1, 4):
        feed.add(features(index=index, sequence=7, first=3))
    assert feed.outcomes == [(5, "complete"), (6, "complete"), (7, "complete")]
    assert feed.settled == {"duplicate": 4}


def test_a_frame_that_no_tile_should_name_is_taken_all_the_same() -> None:
    feed = Feed()
    for index in range(4):
        feed.add(features(index=index, sequence=3, first=9))
    assert feed.outcomes == [(3, "complete")]


@st.composite
def sendings(draw: st.DrawFn) -> list[Features]:
    """Tiles of a run that is sent from its middle on, some missing; each place of the grid in order, places as may be.

    Each header names the lowest sequence that was sent until then.
    """
    start, count = draw(st.integers(0, 3)), draw(st.integers(1, 6))
    every = [(sequence, index) for sequence in range(start, start + count) for index in range(4)]
    lost = draw(st.just(set()) | st.sets(st.sampled_from(every)))
    places = [
        [(sequence, at) for sequence, at in every if at == index and (sequence, at) not in lost] for index in range(4)
    ]
    order = draw(st.permutations([index for index, place in enumerate(places) for _ in place]))
    lowest, sent = 2**62, []
    for index in order:
        sequence, _ = places[index].pop(0)
        lowest = min(lowest, sequence)
        sent.append(features(index=index, sequence=sequence, first=lowest))
    return sent


@given(sent=sendings(), restart_at=st.integers(0, 24))
def test_each_frame_seen_of_a_run_sent_from_its_middle_leaves_once_in_order_also_after_a_restart(
    sent: list[Features], restart_at: int
) -> None:
    before = Feed()
    for part in sent[:restart_at]:
        before.add(part)
    floor = before.assembler.needed_offset()
    after = Feed()
    if before.done:
        after.assembler.resume("cam", "run-1", last_sequence=before.done[-1].header.sequence)
    for part in sent[restart_at if floor is None else floor :]:
        after.add(part)
    told = [closed.header.sequence for closed in before.done + after.done]
    after.wait(10)
    seen = sorted({part.tile.sequence for part in sent})
    assert [closed.header.sequence for closed in before.done + after.done if closed.evidence] == seen
    if sent and len(sent) == 4 * (seen[-1] + 1 - seen[0]):
        assert told == seen, "a run without holes waits for nothing"


def test_holes_are_told_after_a_restart_too_and_are_bounded() -> None:
    feed = Feed(Limits(deadline_s=10, min_coverage=0.5, max_frames=3, max_bytes=10**9))
    feed.assembler.resume("cam", "run-1", last_sequence=4)
    feed.frame(7)
    feed.frame(1000)
    feed.wait(10)
    told = feed.outcomes
    assert told[:3] == [(5, "expired"), (6, "expired"), (7, "complete")]
    assert told[3:] == [(997, "expired"), (998, "expired"), (999, "expired"), (1000, "complete")]


def test_runs_do_not_wait_for_each_other() -> None:
    feed = Feed()
    feed.add(features(index=0, run="run-1"))
    for index in range(4):
        feed.add(features(index=index, run="run-2"))
    assert [closed.header.run for closed in feed.done] == ["run-2"]


def test_frames_already_emitted_are_not_emitted_again_after_a_restart() -> None:
    feed = Feed()
    feed.assembler.resume("cam", "run-1", last_sequence=1)
    for sequence in (0, 1, 2):
        feed.frame(sequence)
    assert feed.outcomes == [(2, "complete")]
    assert feed.settled == {"duplicate": 8}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"frame_digest": b"g" * 16}, "frame digest"),
        ({"frame_width": 80}, "frame size"),
        ({"rows": 4, "cols": 1, "row": 1, "col": 0}, "grid"),
        ({"core": Rect(16, 0, 48, 16)}, "column"),
        ({"pipeline": "p2"}, "pipeline"),
    ],
)
def test_a_tile_that_contradicts_the_others_rejects_the_frame(changes: dict[str, Any], what: str) -> None:
    feed = Feed()
    feed.add(features(index=0))
    feed.add(features(index=3))
    feed.add(features(index=1, **changes))
    assert feed.outcomes == [(0, "rejected")]
    assert what in (feed.done[0].reason or "")
    assert feed.done[0].parts == ()


def test_the_same_tile_with_other_pixels_rejects_the_frame() -> None:
    feed = Feed()
    feed.add(features(index=0))
    feed.add(features(index=0, payload_digest=b"another!"))
    assert feed.outcomes == [(0, "rejected")]
    assert feed.tiles() == {"rejected": 2}


def test_tiles_that_do_not_cover_the_frame_are_no_complete_frame() -> None:
    feed = Feed()
    for index in range(4):
        row, col = divmod(index, 2)
        feed.add(features(index=index, core=Rect(16 * col, 16 * row, 16, 16)))
    assert feed.outcomes == [(0, "rejected")]


def test_a_frame_with_a_dead_tile_ends_partial_without_waiting() -> None:
    feed = Feed()
    feed.frame(0, (0, 1, 2))
    feed.add(features(index=3, refusal=Refusal(reason="decode", detail="broken")))
    assert feed.outcomes == [(0, "partial")]
    assert feed.done[0].missing == ((1, 1),)
    assert feed.tiles() == {"merged": 3, "deadlettered": 1}


def test_a_frame_of_dead_tiles_alone_is_rejected() -> None:
    feed = Feed()
    for index in range(4):
        feed.add(features(index=index, refusal=Refusal(reason="checksum", detail="")))
    assert feed.outcomes == [(0, "rejected")]
    assert feed.tiles() == {"deadlettered": 4}


def test_open_frames_are_bounded_in_number_and_the_oldest_goes_first() -> None:
    feed = Feed(Limits(deadline_s=10, min_coverage=0.5, max_frames=5, max_bytes=10**9))
    for sequence in range(1000):
        feed.frame(sequence, (0,))
        assert feed.assembler.open_frames <= 5
    assert feed.outcomes == [(sequence, "expired") for sequence in range(995)]
    assert {closed.reason for closed in feed.done} == {"evicted: 1 of 4 tiles"}


def test_open_frames_are_bounded_in_bytes_even_when_nothing_can_be_set_aside() -> None:
    held = 4 * (OVERHEAD_BYTES + 100)
    feed = Feed(Limits(deadline_s=10, min_coverage=0.5, max_frames=100, max_bytes=2 * held))
    for sequence in range(1, 9):
        for index in range(4):
            feed.add(features(index=index, sequence=sequence), size_bytes=100)
        assert feed.assembler.open_bytes <= 2 * held
    assert feed.outcomes[0] == (1, "complete")


def test_a_frame_larger_than_all_that_may_be_held_is_evicted_by_itself() -> None:
    feed = Feed(Limits(deadline_s=10, min_coverage=0.5, max_frames=100, max_bytes=100_000))
    feed.add(features(index=0, sequence=0), size_bytes=1000)
    for index in range(4):
        feed.add(features(index=index, sequence=1), size_bytes=40_000)
    for index in (1, 2, 3):
        feed.add(features(index=index, sequence=0), size_bytes=1000)
    assert feed.outcomes == [(0, "complete"), (1, "expired")]
    assert feed.done[1].reason == "evicted: 3 of 4 tiles"


def test_the_floor_is_the_first_record_of_the_oldest_frame_held() -> None:
    feed = Feed()
    feed.frame(0, (0, 1))
    feed.frame(1, (0,))
    assert feed.assembler.needed_offset() == 0
    feed.frame(0, (2, 3))
    assert feed.assembler.needed_offset() == 2


def test_forgotten_runs_are_bounded() -> None:
    feed = Feed()
    for number in range(5000):
        for index in range(4):
            feed.add(features(index=index, run=f"run-{number}"))
    assert len(feed.done) == 5000
    assert feed.assembler.streams_known <= 4096


def test_a_grid_of_one_tile_is_complete_with_it() -> None:
    feed = Feed()
    feed.add(features(index=0, grid=Grid(1, 1)))
    assert feed.outcomes == [(0, "complete")]
