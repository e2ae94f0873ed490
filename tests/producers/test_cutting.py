"""Frames to tiles: headers the wire accepts, pixels that come back, grids that follow the content."""

from __future__ import annotations

import threading
from typing import get_args

import numpy as np
import pytest

from producers.cutting import Cutter, encode_frame, fit_grid, measure, parse_grid
from streamproc import wire
from streamproc.errors import SourceError, UsageError
from streamproc.model import Codec, Frame, FrameKey, Grid, Pixels
from streamproc.operators import pixels as pixel_ops
from streamproc.operators import tiling
from streamproc.settings import Settings, load_settings
from tests.producers.material import SETTINGS, picture

KEY = FrameKey("cam", "run", 3)


def frame(pixels: Pixels) -> Frame:
    return Frame(pixels=pixels, captured_ns=17)


def cutter(settings: Settings = SETTINGS, **options: object) -> tuple[Cutter, list[str]]:
    told: list[str] = []
    chosen = {"codec": "jpeg", "grid": None, "pipeline_halo": 0, "partitions": 8, **options}
    return Cutter(settings, notice=told.append, **chosen), told  # type: ignore[arg-type]  # a table of options


@pytest.mark.parametrize("codec", get_args(Codec))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (97, 65), (640, 360)])
def test_every_tile_is_one_the_wire_accepts_and_decodes_to_its_window(
    codec: Codec, channels: int, size: tuple[int, int]
) -> None:
    pixels = picture(*size, channels=channels)
    most = tiling.largest_grid(*size)
    grid = Grid(min(3, most.rows), min(2, most.cols))
    tiles = encode_frame(frame(pixels), KEY, grid=grid, halo=5, codec=codec, jpeg_quality=90, preview=True)
    assert [(header.row, header.col) for header, _ in tiles] == [
        (row, col) for row in range(grid.rows) for col in range(grid.cols)
    ]
    for (header, payload), window in zip(tiles, tiling.split(pixels, grid, 5), strict=True):
        read = wire.read_tile_header(wire.tile_headers(header))
        wire.check_tile(read, payload, max_frame_pixels=10**6)
        assert (read.key, read.captured_ns, read.preview, read.tile_count) == (KEY, 17, True, grid.count)
        assert read.frame_digest == wire.digest_frame(pixels)
        assert read.rect == window.rect
        decoded = pixel_ops.decode(payload, codec, read.pixel_format, read.rect.width, read.rect.height)
        if codec != "jpeg":
            assert np.array_equal(decoded, window.pixels)


@pytest.mark.parametrize("quality", [60, 90, 100])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(640, 368), (637, 361), (1280, 720)])
def test_a_jpeg_tile_decodes_to_the_pixels_of_the_whole_frames_jpeg(
    size: tuple[int, int], channels: int, quality: int
) -> None:
    """With a halo of 16 at cuts of 16, all but the outermost pixels of a tile are exactly the frame's."""
    width, height = size
    pixels = picture(width, height, channels=channels)
    kind = pixel_ops.format_of(pixels)
    whole = pixel_ops.decode(pixel_ops.encode(pixels, "jpeg", quality), "jpeg", kind, width, height)
    for header, payload in encode_frame(
        frame(pixels), KEY, grid=Grid(3, 4), halo=16, codec="jpeg", jpeg_quality=quality
    ):
        tile = pixel_ops.decode(payload, "jpeg", kind, header.rect.width, header.rect.height)
        inner = header.core.grown(15, width=width, height=height)
        assert np.array_equal(tile[inner.within(header.rect)], whole[inner.y : inner.bottom, inner.x : inner.right])


def test_measuring_by_pieces_is_near_measuring_at_once() -> None:
    pixels = picture(2300, 700)
    at_once = len(pixel_ops.encode(pixels, "jpeg", 90)) / (2300 * 700)
    assert measure(pixels, "jpeg", jpeg_quality=90) == pytest.approx(at_once, rel=0.02)
    assert measure(pixels, "raw", jpeg_quality=90) == 3


def test_a_fitted_grid_keeps_the_target_even_for_uneven_pictures() -> None:
    pixels = np.full((1080, 1920, 3), 128, np.uint8)
    pixels[400:1000, 1200:] = np.random.default_rng(0).integers(0, 256, (600, 720, 3))
    settings = load_settings(target_tile_bytes=100_000)
    choice = fit_grid(pixels, codec="jpeg", halo=16, partitions=8, settings=settings)
    tiles = encode_frame(frame(pixels), KEY, grid=choice.grid, halo=16, codec="jpeg", jpeg_quality=90)
    assert max(len(payload) for _, payload in tiles) <= 100_000
    assert "at most" in choice.reason


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (16, 16), (640, 480)])
@pytest.mark.parametrize("codec", get_args(Codec))
def test_small_frames_are_cut_by_themselves(size: tuple[int, int], codec: Codec) -> None:
    made, _ = cutter(codec=codec, pipeline_halo=64)
    encoded = made.encode(frame(picture(*size)), KEY)
    assert sum(header.core.area for header, _ in encoded.tiles) == size[0] * size[1]


def test_the_grid_is_chosen_once_and_told_once() -> None:
    made, told = cutter()
    for number in range(3):
        made.encode(frame(picture(640, 480, seed=number)), KEY)
    assert told == ["grid 1x1: 640x480 as jpeg is about 119 kB, one tile"] or len(told) == 1
    assert made.last is not None
    assert made.last.reason == told[0]


def test_frames_of_another_size_get_a_grid_of_their_own() -> None:
    made, told = cutter()
    assert made.prepare(frame(picture(96, 64))).grid == Grid(1, 1)
    assert made.prepare(frame(picture(1920, 1080))).grid.count > 1
    assert made.prepare(frame(picture(96, 64))).grid == Grid(1, 1)
    assert len(told) == 2


def test_a_tile_above_the_limit_makes_the_grid_finer_from_there_on() -> None:
    settings = load_settings(max_tile_bytes=30_000, target_tile_bytes=25_000)
    made, told = cutter(settings)
    calm = np.full((480, 640, 3), 128, np.uint8)
    wild = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert len(made.encode(frame(calm), KEY).tiles) == 1
    finer = made.encode(frame(wild), KEY)
    assert max(len(payload) for _, payload in finer.tiles) <= 30_000
    header = finer.tiles[0][0]
    assert header.rows * header.cols == len(finer.tiles) == header.tile_count > 1
    assert len(made.encode(frame(calm), KEY).tiles) == len(finer.tiles)
    assert "frame 3 has a tile of" in told[-1]


def test_an_asked_grid_is_taken_and_made_finer_only_when_it_must_be() -> None:
    made, told = cutter(grid=Grid(2, 3))
    assert len(made.encode(frame(picture(640, 480)), KEY).tiles) == 6
    assert told == ["grid 2x3: as asked"]
    made, told = cutter(load_settings(max_tile_bytes=20_000), grid=Grid(1, 1), codec="raw")
    assert max(len(payload) for _, payload in made.encode(frame(picture(320, 240)), KEY).tiles) <= 20_000
    assert len(told) > 1


def test_threads_agree_on_the_finer_grid() -> None:
    settings = load_settings(max_tile_bytes=30_000)
    made, _ = cutter(settings, grid=Grid(1, 1))
    wild = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    largest: list[int] = []

    def work() -> None:
        largest.extend(len(payload) for _, payload in made.encode(frame(wild), KEY).tiles)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(largest) <= 30_000


def test_an_asked_grid_that_does_not_fit_is_refused() -> None:
    made, _ = cutter(grid=Grid(9, 9))
    with pytest.raises(UsageError, match="does not fit"):
        made.prepare(frame(picture(96, 64)))


def test_a_frame_that_no_grid_can_carry_is_refused_with_a_way_out() -> None:
    made, _ = cutter(
        load_settings(max_tile_bytes=1000, target_tile_bytes=1000),
        grid=Grid(1, 1),
        codec="raw",
        pipeline_halo=32,
    )
    with pytest.raises(SourceError, match="STREAMPROC_MAX_TILE_BYTES"):
        made.encode(frame(picture(96, 64)), KEY)


def test_a_halo_no_worker_would_take_is_refused() -> None:
    with pytest.raises(UsageError, match="1024"):
        cutter(pipeline_halo=1025)


@pytest.mark.parametrize(
    ("text", "grid"), [("auto", None), ("1x1", Grid(1, 1)), ("2x3", Grid(2, 3)), ("2X3", Grid(2, 3))]
)
def test_grids_as_people_write_them(text: str, grid: Grid | None) -> None:
    assert parse_grid(text) == grid


@pytest.mark.parametrize("text", ["", "2", "2x", "x3", "0x1", "-1x2", "2x3x4", "two", "1e3x2", "999x999"])
def test_wrong_grids_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="grid"):
        parse_grid(text)
