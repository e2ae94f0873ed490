"""Results set aside: with a log to read again from, a small memory gives what an unbounded one gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.aggregator.assembly import RECORD_BYTES, Assembler, ClosedFrame, Limits
from streamproc.aggregator.frames import OVERHEAD_BYTES
from streamproc.model import Features, Figures, Refusal
from tests.features import features

SIZE = 10_000
FRAMES, TILES = 40, 4
LEFT_BYTES = OVERHEAD_BYTES + RECORD_BYTES  # of a tile that is set aside
ROOM = FRAMES * TILES * LEFT_BYTES + 4 * TILES * SIZE
"""For what is left of each tile, and for the results of four frames."""


def part(sequence: int, index: int, camera: str = "cam") -> Features:
    """A tile whose results tell it from all others."""
    found = features(index=index, sequence=sequence, camera=camera)
    return msgspec.structs.replace(
        found, results={"step": Figures(values={"at": sequence * 10 + index})}, thumbnail=b"t"
    )


class Log:
    """A partition of features, what it keeps of them, and an assembler that reads it."""

    def __init__(self, max_bytes: int, *, gone: Callable[[int], bool] = lambda _offset: False) -> None:
        self.assembler = Assembler(Limits(deadline_s=10, min_coverage=0.5, max_frames=10_000, max_bytes=max_bytes))
        self.records: list[Features] = []
        self.done: list[ClosedFrame] = []
        self.settled: Counter[str] = Counter()
        self.read_again: list[list[int]] = []
        self.most_bytes = 0
        self._gone = gone

    def add(self, one: Features, *, now_s: float = 0, size: int = SIZE) -> None:
        self.records.append(one)
        settled = self.assembler.add(one, size_bytes=size, offset=len(self.records) - 1, now_s=now_s)
        if settled is not None:
            self.settled[settled] += 1
        self.finish(now_s)

    def finish(self, now_s: float) -> None:
        self.done += self.assembler.finish(now_s)
        while piece := self.assembler.lacking(2 * TILES * SIZE):
            self.read_again.append(piece.offsets)
            kept = [offset for offset in piece.offsets if not self._gone(offset)]
            self.assembler.put_back(piece, {offset: self.records[offset] for offset in kept})
            self.done += self.assembler.finish(now_s)
        self.most_bytes = max(self.most_bytes, self.assembler.open_bytes)

    def times_read(self) -> Counter[int]:
        """How often each record was read again."""
        return Counter(offset for piece in self.read_again for offset in piece)

    def take(self, parts: Iterable[Features]) -> Log:
        for one in parts:
            self.add(one)
        return self

    def came_to(self) -> list[tuple[object, ...]]:
        """What left, in its order within each camera."""
        return [
            (one.key, one.outcome, one.reason, one.missing, sorted(one.tiles.items()), one.parts)
            for one in sorted(self.done, key=lambda one: one.header.camera)
        ]

    def outcomes(self) -> Counter[str]:
        return Counter(one.outcome for one in self.done)


def lagging(frames: int = FRAMES) -> list[Features]:
    """Three tiles of each frame come long before the fourth of the first: two workers far apart."""
    fast = [part(sequence, index) for sequence in range(frames) for index in range(TILES - 1)]
    return fast + [part(sequence, TILES - 1) for sequence in range(frames)]


def test_every_frame_is_complete_although_one_worker_is_far_behind_another() -> None:
    log = Log(ROOM).take(lagging())
    assert log.outcomes() == {"complete": FRAMES}
    assert log.came_to() == Log(10**9).take(lagging()).came_to()
    assert log.most_bytes <= ROOM
    assert (log.assembler.open_frames, log.assembler.open_bytes) == (0, 0)


def test_what_is_set_aside_is_read_again_once_and_several_frames_together() -> None:
    log = Log(ROOM).take(lagging())
    assert set(log.times_read().values()) == {1}
    assert len(log.read_again) <= FRAMES / 2


@pytest.mark.parametrize("floor", [0.5, 0.8, 0.9, 0.97])
def test_nothing_is_read_over_and_over_when_what_is_left_of_tiles_fills_most_of_the_memory(floor: float) -> None:
    log = Log(int(FRAMES * TILES * LEFT_BYTES / floor)).take(lagging())
    assert log.outcomes() == {"complete": FRAMES}
    assert log.times_read().total() <= 1.5 * len(log.times_read())


def test_a_camera_that_waits_does_not_make_another_read_over_and_over() -> None:
    """The first frames of a wait for long; b's last tiles come one by one."""
    log = Log(2 * FRAMES * TILES * LEFT_BYTES + 8 * TILES * SIZE)
    for sequence in range(FRAMES):
        for camera in "ab":
            for index in range(TILES - 1):
                log.add(part(sequence, index, camera=camera))
    for sequence in range(FRAMES):
        log.add(part(sequence, TILES - 1, camera="b"))
    assert log.outcomes() == {"complete": FRAMES}
    assert log.times_read().total() <= 1.5 * len(log.times_read())
    for sequence in range(FRAMES):
        log.add(part(sequence, TILES - 1, camera="a"))
    assert log.outcomes() == {"complete": 2 * FRAMES}


def test_records_far_apart_are_not_read_together() -> None:
    """Between two frames of the run lie many records of others; what is read through stays in proportion."""
    log = Log(10**8)
    for sequence in range(8):
        for index in range(TILES - 1):
            log.add(part(sequence, index))
        for other in range(300):
            log.add(part(other, 0, camera=f"other-{sequence}"), size=100)
    log.assembler.set_aside(10**9)
    for sequence in range(8):
        log.add(part(sequence, TILES - 1))
    assert log.outcomes()["complete"] == 8
    assert all(max(piece) - min(piece) <= 16 * len(piece) for piece in log.read_again)


def test_nothing_is_set_aside_while_there_is_room() -> None:
    assert not Log(10**9).take(lagging()).read_again


def test_complete_frames_behind_a_hole_are_set_aside_and_leave_once_it_is_passed() -> None:
    log = Log(ROOM)
    log.add(part(0, 0))
    for sequence in range(1, FRAMES):
        for index in range(TILES):
            log.add(part(sequence, index))
    assert not log.done
    log.finish(10.0)
    assert log.outcomes() == {"expired": 1, "complete": FRAMES - 1}
    assert [one.header.sequence for one in log.done] == list(range(FRAMES))
    assert all(tile.results for one in log.done for tile in one.parts)


def test_a_frame_evicted_for_want_of_room_does_not_take_complete_ones_behind_it_along() -> None:
    """Once what is left of each tile fills the memory, the oldest goes; those behind it are read again and leave."""
    log = Log(8 * TILES * LEFT_BYTES + 4 * TILES * SIZE)
    log.add(part(0, 0))
    for sequence in range(1, FRAMES):
        for index in range(TILES):
            log.add(part(sequence, index))
    assert log.outcomes() == {"expired": 1, "complete": FRAMES - 1}
    assert log.done[0].reason == "evicted: 1 of 4 tiles"


@pytest.mark.parametrize("lost", [28, 29, 30, 31, 32])
def test_a_frame_whose_results_the_log_no_longer_has_ends_partial_says_so_and_holds_nobody_up(lost: int) -> None:
    """Frames so far behind were set aside; two early tiles are gone, found out for itself or by reading ahead."""
    gone = {lost * 3, lost * 3 + 1}
    log = Log(ROOM, gone=gone.__contains__).take(lagging())
    assert log.outcomes() == {"complete": FRAMES - 1, "partial": 1}
    (found,) = [one for one in log.done if one.outcome != "complete"]
    assert (found.header.sequence, found.reason) == (lost, "retention: 2 of 4 tiles")
    assert found.missing == ((0, 0), (0, 1))
    assert found.tiles == {"merged": 2, "rejected": 2}


def test_a_tile_whose_results_are_gone_may_come_again() -> None:
    log = Log(ROOM, gone={32 * 3}.__contains__).take(lagging()[: FRAMES * (TILES - 1)])
    for sequence in range(32):
        log.add(part(sequence, TILES - 1))
    assert 32 * 3 in log.times_read()  # ahead of its turn
    log.add(part(32, 0))
    log.add(part(32, TILES - 1))
    assert log.outcomes() == {"complete": 33}


def test_another_record_at_the_same_offset_is_not_taken_for_it() -> None:
    log = Log(ROOM)
    for one in lagging()[: FRAMES * (TILES - 1)]:
        log.add(one)
    log.records[30 * 3] = part(7, 0)  # a topic that was made anew
    for sequence in range(FRAMES):
        log.add(part(sequence, TILES - 1))
    (lost,) = [one for one in log.done if one.outcome != "complete"]
    assert (lost.header.sequence, lost.reason) == (30, "retention: 3 of 4 tiles")


def test_a_tile_that_comes_again_while_its_results_are_set_aside_is_a_duplicate() -> None:
    log = Log(ROOM)
    log.take(lagging()[: FRAMES * (TILES - 1)])
    log.add(part(30, 0))
    assert log.settled == {"duplicate": 1}


@st.composite
def sendings(draw: st.DrawFn) -> list[tuple[Features, int, float]]:
    """Tiles of two cameras in any order, with repeats and holes; some refused, some of other pixels, some small."""
    places = [(camera, sequence, index) for camera in "ab" for sequence in range(8) for index in range(TILES)]
    sent = []
    for camera, sequence, index in draw(st.lists(st.sampled_from(places), max_size=80)):
        one = part(sequence, index, camera=camera)
        kind = draw(st.sampled_from(["good"] * 12 + ["refused", "refused", "other pixels", "other pipeline", "small"]))
        if kind == "refused":
            refusal = Refusal(reason="decode", detail="broken")
            one = msgspec.structs.replace(one, results={}, thumbnail=b"", refusal=refusal)
        elif kind == "other pixels":
            one = msgspec.structs.replace(one, tile=msgspec.structs.replace(one.tile, payload_digest=b"otherone"))
        elif kind == "other pipeline":
            one = msgspec.structs.replace(one, pipeline="p2")
        sent.append((one, 500 if kind in {"refused", "small"} else SIZE, draw(st.sampled_from([0.0] * 8 + [0.5, 4.0]))))
    return sent


def played(log: Log, sent: list[tuple[Features, int, float]]) -> Log:
    now_s = 0.0
    for one, size, later_s in sent:
        now_s += later_s
        log.add(one, now_s=now_s, size=size)
    log.finish(now_s + 10)
    assert (log.assembler.open_bytes, log.assembler.open_frames) == (0, 0)
    return log


ROOM_FOR_ONE = 80 * LEFT_BYTES + 80 * 1024 + TILES * SIZE


@given(sent=sendings())
def test_any_order_repeats_holes_and_refusals_come_to_the_same_as_with_unbounded_memory(
    sent: list[tuple[Features, int, float]],
) -> None:
    small, large = played(Log(ROOM_FOR_ONE), sent), played(Log(10**9), sent)
    assert small.came_to() == large.came_to()
    assert small.settled == large.settled


@given(sent=sendings(), gone=st.sets(st.integers(0, 80)), room=st.integers(OVERHEAD_BYTES, ROOM_FOR_ONE))
def test_whatever_the_log_has_lost_each_frame_leaves_once_and_each_tile_is_counted_once(
    sent: list[tuple[Features, int, float]], gone: set[int], room: int
) -> None:
    log = Log(room, gone=gone.__contains__)
    for camera in "ab":
        log.assembler.resume(camera, "run-1", last_sequence=-1)  # so that what is below the first tile counts, too
    played(log, sent)
    left = [one.key for one in log.done]
    assert len(left) == len(set(left))
    assert {one.tile.key for one, _, _ in sent} <= set(left)
    assert sum((one.tiles for one in log.done), Counter(log.settled)).total() == len(sent)
    for camera in "ab":
        order = [key.sequence for key in left if key.camera == camera]
        assert order == sorted(order)
    for one in log.done:
        assert all(tile.results for tile in one.parts)
