"""Only changed tiles: what is put together from them is the canvas, and at level 0 the frame itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.changed_only import ChangedOnly
from producers.changes import Base, Bases, Canvas, Update
from producers.cutting import Cutter, EncodedFrame
from streamproc import wire
from streamproc.errors import BadPixels, SourceError, UsageError
from streamproc.evidence import join_tiles, tile_pixels
from streamproc.model import Frame, FrameKey, Grid, Pixels
from streamproc.operators.replenish import changed_blocks, replenish
from streamproc.records import Record
from streamproc.references import References
from tests.producers.material import SETTINGS

GRID = Grid(3, 4)
HALO = 6
HEIGHT, WIDTH = 100, 130


def picture(seed: int = 0, *, channels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(seed).integers(0, 200, shape, np.uint8)


def at(pixels: Pixels, second: float = 0.0) -> Frame:
    return Frame(pixels=pixels, captured_ns=10**18 + int(second * 1e9), clock="pts")


def with_thing(pixels: Pixels, y: int, x: int, *, side: int = 12) -> Pixels:
    changed = pixels.copy()
    changed[y : y + side, x : x + side] = 255
    return changed


class Receiver:
    """Puts frames together from records, as workers do."""

    def __init__(self) -> None:
        self.log: list[tuple[EncodedFrame, int]] = []  # and the offset of its first tile
        self.records: dict[int, Record] = {}
        self.references = References(lambda _partition, offset: self.records.get(offset), bound_bytes=1)

    def take(self, encoded: EncodedFrame) -> Pixels:
        tiles = []
        for header, value in encoded.tiles:
            offset = len(self.records)
            read = wire.read_tile_header(wire.tile_headers(header))
            self.records[offset] = Record(
                topic="t",
                partition=0,
                offset=offset,
                timestamp_ms=0,
                key=b"",
                value=value,
                headers=wire.tile_headers(header),
            )
            wire.check_tile(read, value, max_frame_pixels=10**6)
            payload = self.references.payload(read, partition=0, offset=offset, value=value)
            tiles.append((read, tile_pixels(read, payload)))
        header = encoded.tiles[0][0]
        assert all(tile.frame_digest == wire.digest_frame(encoded.pixels) for tile, _ in tiles)
        return join_tiles(tiles, width=header.frame_width, height=header.frame_height)

    def acknowledge(self, cutter: Cutter, encoded: EncodedFrame) -> None:
        first = len(self.records) - len(encoded.tiles)
        for index, (header, _) in enumerate(encoded.tiles):
            cutter.delivered(header.sequence, index, first + index)


def cutter(policy: ChangedOnly, **options: Any) -> Cutter:
    made: dict[str, Any] = {"codec": "raw", "grid": GRID, "pipeline_halo": HALO, "partitions": 4}
    made["notice"] = lambda _line: None
    return Cutter(SETTINGS, changed=policy, **(made | options))


def key(sequence: int) -> FrameKey:
    return FrameKey("cam", "run", sequence)


@settings(max_examples=40, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, 40), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    level=st.sampled_from([0.0, 5.0, 30.0]),
    codec=st.sampled_from(["raw", "png", "jpeg"]),
    channels=st.sampled_from([1, 3]),
)
def test_what_is_put_together_is_the_canvas(
    moves: list[tuple[int, int, int, bool]], level: float, codec: str, channels: int
) -> None:
    """Whatever changes, and however late deliveries are known."""
    receiver, cuts = Receiver(), cutter(ChangedOnly(level=level, full_every_s=1.0), codec=codec)
    ground = picture(channels=channels)
    whole = cutter(ChangedOnly(), codec=codec)
    waiting: list[EncodedFrame] = []
    for sequence, (y, x, side, prompt) in enumerate(moves):
        frame = at(with_thing(ground, y, x, side=side), sequence / 5)
        encoded = cuts.encode(frame, key(sequence))
        joined = receiver.take(encoded)
        alone = whole.encode(Frame(pixels=encoded.pixels.copy(), captured_ns=sequence * 10**10), key(sequence))
        assert np.array_equal(joined, Receiver().take(alone))  # as if all tiles of the canvas were sent
        if codec != "jpeg":
            assert np.array_equal(joined, encoded.pixels)
        if level == 0:
            assert np.array_equal(encoded.pixels, frame.pixels)
        if prompt:
            receiver.acknowledge(cuts, encoded)
        else:
            waiting.append(encoded)


def test_unchanged_tiles_have_no_pixels_once_the_broker_has_them() -> None:
    receiver, cuts, ground = Receiver(), cutter(ChangedOnly()), picture()
    first = cuts.encode(at(ground), key(0))
    receiver.take(first)
    assert all(header.base and header.same_as is None for header, _ in first.tiles)
    early = cuts.encode(at(ground, 0.1), key(1))
    assert not early.unchanged  # nothing is acknowledged yet
    assert not any(header.base for header, _ in early.tiles)  # later frames wait for those of the first
    receiver.take(early)
    for index in range(GRID.count):
        cuts.delivered(1, index, 99)  # of a frame that is no base
        cuts.delivered(0, index, index)
    still = cuts.encode(at(ground, 0.2), key(2))
    assert still.unchanged == GRID.count
    assert [header.same_as for header, _ in still.tiles] == list(range(GRID.count))
    assert {header.schema for header, _ in still.tiles} == {wire.REFERENCE_SCHEMA}
    assert still.size_bytes == 0
    assert np.array_equal(receiver.take(still), ground)


def test_a_thing_that_moves_costs_its_own_tiles_and_those_whose_halo_it_touches() -> None:
    receiver, cuts, ground = Receiver(), cutter(ChangedOnly(level=0)), picture()
    encoded = cuts.encode(at(ground), key(0))
    receiver.take(encoded)
    receiver.acknowledge(cuts, encoded)
    moved = with_thing(ground, 50, 100, side=4)
    encoded = cuts.encode(at(moved, 0.1), key(1))
    sent = {(header.row, header.col) for header, _ in encoded.tiles if header.same_as is None}
    touched = {
        (header.row, header.col)
        for header, _ in encoded.tiles
        if header.rect.x < 112 and header.rect.right > 96 and header.rect.y < 64 and header.rect.bottom > 48
    }
    assert sent == touched
    assert np.array_equal(receiver.take(encoded), moved)


def test_all_tiles_are_sent_every_so_often_in_the_stream_s_time_or_in_ours() -> None:
    canvas, ground = Canvas(ChangedOnly(full_every_s=2.0)), picture()

    def update(second: float, now_s: float) -> Update:
        return canvas.update(at(ground, second), GRID, HALO, now_s=now_s)

    assert update(0, 0).full
    assert not update(1.9, 0.1).full
    assert update(2.0, 0.2).full  # a film that is read fast
    assert not update(2.1, 2.1).full
    assert update(2.2, 2.3).full  # a camera whose clock stands still
    assert update(1.0, 2.4).full  # or goes back
    assert update(500.0, 2.5).full


def test_another_size_or_another_grid_is_sent_in_full() -> None:
    canvas = Canvas(ChangedOnly())
    assert canvas.update(at(picture()), GRID, HALO, now_s=0).full
    assert not canvas.update(at(picture()), GRID, HALO, now_s=0).full
    assert canvas.update(at(picture()), Grid(2, 2), HALO, now_s=0).full
    assert canvas.update(at(picture()), Grid(2, 2), HALO + 1, now_s=0).full
    other = canvas.update(at(picture(height=64, width=64)), Grid(2, 2), HALO, now_s=0)
    assert (other.full, other.changed) == (True, (True,) * 4)
    with pytest.raises(UsageError):
        canvas.update(at(picture(height=16, width=16)), GRID, HALO, now_s=0)


def test_noise_is_no_change_and_a_slow_change_is_one_in_time() -> None:
    rng = np.random.default_rng(4)
    ground = picture()
    canvas = Canvas(ChangedOnly(level=12.0, full_every_s=60.0))
    canvas.update(at(ground), GRID, HALO, now_s=0)
    changed = []
    for step in range(1, 40):
        noisy = np.clip(ground + rng.normal(0, 3, ground.shape), 0, 255).astype(np.uint8)
        changed.append(any(canvas.update(at(noisy, step / 100), GRID, HALO, now_s=0).changed))
    assert not any(changed)
    brighter = [
        any(canvas.update(at(ground + np.uint8(step), step / 100), GRID, HALO, now_s=0).changed) for step in range(40)
    ]
    assert brighter.index(True) == 13  # though no frame differs from the one before by more than a level
    assert sum(brighter) == 3


def test_the_tiles_that_changed_least_are_held_back_first() -> None:
    ground = picture(channels=1)
    now = with_thing(with_thing(with_thing(ground, 20, 20, side=3), 10, 100, side=14), 64, 64, side=30)

    def held(pressure: float) -> tuple[int, list[int], Pixels]:
        canvas = Canvas(ChangedOnly(level=0))
        canvas.update(at(ground), GRID, 0, now_s=0)
        update = canvas.update(at(now, 0.1), GRID, 0, now_s=0, pressure=pressure)
        return update.held, [index for index, changed in enumerate(update.changed) if changed], update.pixels

    none, changed, shown = held(0.5)
    assert (none, changed) == (0, [0, 3, 10])
    assert np.array_equal(shown, now)
    some, changed, shown = held(0.7)
    assert (some, changed) == (1, [3, 10])  # the smallest thing stays as it was
    assert np.array_equal(shown[:32, :32], ground[:32, :32])
    assert np.array_equal(shown[:32, 96:], now[:32, 96:])
    most, changed, shown = held(1.0)
    assert (most, changed) == (2, [10])  # never all: that would be a frame that is not sent
    assert np.array_equal(shown[64:, 64:96], now[64:, 64:96])


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 129), st.integers(1, 60)), min_size=1, max_size=6),
    pressure=st.floats(0, 1),
    halo=st.sampled_from([0, 6, 40]),
    grid=st.sampled_from([Grid(1, 1), Grid(3, 4), Grid(6, 8)]),
)
def test_each_tile_that_is_held_back_is_counted_and_something_that_changed_is_sent(
    places: list[tuple[int, int, int]], pressure: float, halo: int, grid: Grid
) -> None:
    ground = picture(channels=1)
    now = ground
    for y, x, side in places:
        now = with_thing(now, y, x, side=side)
    all_of, some = Canvas(ChangedOnly(level=0)), Canvas(ChangedOnly(level=0))
    for canvas in (all_of, some):
        canvas.update(at(ground), grid, halo, now_s=0)
    wanted = all_of.update(at(now, 0.1), grid, halo, now_s=0).changed
    update = some.update(at(now, 0.1), grid, halo, now_s=0, pressure=pressure)
    kept = [one for one, sent in zip(wanted, update.changed, strict=True) if one and not sent]
    assert update.held == len(kept)
    assert any(update.changed)
    if grid.count == 1:
        assert np.array_equal(update.pixels, now)


def test_a_frame_that_cannot_be_encoded_is_forgotten() -> None:
    receiver, cuts, ground = Receiver(), cutter(ChangedOnly(), codec="png"), picture()
    encoded = cuts.encode(at(ground), key(0))
    receiver.take(encoded)
    receiver.acknowledge(cuts, encoded)
    with pytest.raises((SourceError, BadPixels)):
        cuts.encode(Frame(pixels=ground[..., :2], captured_ns=10**18), key(1))
    moved = with_thing(ground, 50, 50)
    encoded = cuts.encode(at(moved, 0.1), key(1))
    assert not encoded.unchanged
    assert np.array_equal(receiver.take(encoded), moved)


def test_what_was_held_back_is_said_on_every_tile() -> None:
    receiver, cuts, ground = Receiver(), cutter(ChangedOnly(level=0), pipeline_halo=0), picture()
    encoded = cuts.encode(at(ground), key(0))
    receiver.take(encoded)
    receiver.acknowledge(cuts, encoded)
    now = with_thing(with_thing(ground, 20, 20, side=3), 64, 64, side=30)
    encoded = cuts.encode(at(now, 0.1), key(1), pressure=1.0)
    assert encoded.held == 1
    assert {header.held for header, _ in encoded.tiles} == {1}


def test_the_automatic_grid_is_finer_where_only_changed_tiles_are_sent() -> None:
    large = picture(height=480, width=640)
    changed, plain = (
        cutter(ChangedOnly(), grid=None, codec="jpeg"),
        Cutter(SETTINGS, codec="jpeg", grid=None, pipeline_halo=HALO, partitions=1, notice=lambda _line: None),
    )
    assert changed.prepare(at(large)).grid.count >= 3 * plain.prepare(at(large)).grid.count


def test_a_wait_for_deliveries_ends_with_the_last_of_them_or_in_time() -> None:
    bases = Bases()
    for index in range(3):
        bases.sending(index, sequence=7, payload_digest=bytes([index] * 8))
    bases.delivered(0, sequence=7, offset=10)
    bases.delivered(1, sequence=6, offset=11)  # of an earlier frame
    assert bases.await_delivery([0, 1], longest_s=0) == {0: Base(10, bytes(8))}
    later = threading.Timer(0.05, lambda: bases.delivered(1, sequence=7, offset=12))
    later.start()
    assert bases.await_delivery([0, 1], longest_s=10) == {0: Base(10, bytes(8)), 1: Base(12, bytes([1] * 8))}
    later.join()
    bases.sending(0, sequence=8, payload_digest=bytes(8))
    assert 0 not in bases.await_delivery([0], longest_s=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.sampled_from([1, 3]))
def test_blocks_hold_every_difference_at_level_0_and_no_other(
    height: int, width: int, seed: int, channels: int
) -> None:
    before = picture(seed, channels=channels, height=height, width=width)
    rng = np.random.default_rng(seed)
    now = before.copy()
    for _ in range(rng.integers(0, 4)):
        now[rng.integers(0, height), rng.integers(0, width)] ^= 1
    blocks = changed_blocks(before, now, 0)
    expected = np.zeros_like(blocks)
    for y, x in np.argwhere((before != now).reshape(height, width, -1).any(axis=2)):
        expected[y // 16, x // 16] = True
    assert np.array_equal(blocks, expected)
    replenish(before, now, blocks)
    assert np.array_equal(before, now)


def test_pictures_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(BadPixels):
        changed_blocks(picture(), picture(height=16), 1)
